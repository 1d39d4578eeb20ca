//! The world of these tests, and the settings that most of them use.

pub use throng_world::chat::{World, token};
pub use throng_world::{Client, masked, request};

pub fn settings() -> throng_chat::Settings {
    throng_chat::Settings::default()
}
