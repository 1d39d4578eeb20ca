//! What has to come to its end although its request may not: a client may close its connection at any time, and a
//! request that takes too long is given up.

use std::future::pending;
use std::panic::resume_unwind;

/// Does the work whether somebody still waits for it or not: a write and the notice of it, or a look-up and its
/// count. A request that was given up may leave it behind, so it is a call or two of the store, which answers in
/// time.
pub(crate) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime ends, and who waits here ends with it.
            Err(_) => pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_comes_to_its_end() {
        let ((begin, begun), (end, ended)) = (oneshot::channel::<()>(), oneshot::channel());
        let mut work = Box::pin(to_its_end(async move {
            begun.await.expect("the test says so");
            end.send("done").expect("the test waits");
        }));
        let polled = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
        assert!(polled.is_pending());
        drop(work);
        begin.send(()).expect("the work goes on");
        assert_eq!(ended.await, Ok("done"));
    }

    #[tokio::test]
    #[should_panic(expected = "a bug in the work")]
    async fn a_panic_of_the_work_is_one_of_the_request() {
        to_its_end::<()>(async { panic!("a bug in the work") }).await;
    }
}
