//! Users of a server under test.

use throng_loadgen::rest::Rest;
use throng_loadgen::scenario::Users;
use throng_loadgen::target::Target;

/// Tokens of `count` users, registered unless they exist.
///
/// # Errors
/// The server refuses a registration.
pub fn users(url: &str, count: usize) -> anyhow::Result<Vec<String>> {
    let users = Users { register: Some(count), ..Users::default() };
    throng_loadgen::users::tokens(&users, 1, &Rest::new(&Target::parse(url)?, None))
}
