//! The search for a shorter stream.

use throng_sim::canary::Canary;
use throng_sim::entropy::Stream;
use throng_sim::run::{Options, quiet_panics, run};
use throng_sim::shrink::shrink;

#[test]
fn a_failing_stream_becomes_shorter_and_fails_in_the_same_way() {
    quiet_panics();
    let options = Options { canary: Some(Canary::LoseAck), ..Options::new(3) };
    let (stream, violation) = (0..)
        .map(Stream::from_seed)
        .find_map(|stream| run(&stream, options).violation.map(|why| (stream, why)))
        .expect("some seed fails");
    let small = shrink(&stream, options, 300);
    assert!(small.0.len() * 2 < stream.0.len(), "{} of {}", small.0.len(), stream.0.len());
    let again = run(&small, options).violation.expect("the shorter stream fails too");
    assert_eq!(again.checker, violation.checker);
}

#[test]
fn a_stream_that_passes_is_left_alone() {
    let stream = Stream(vec![0; 200]);
    assert_eq!(shrink(&stream, Options::new(1), 100), stream);
}
