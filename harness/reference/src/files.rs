//! Images: recognized by their bytes, stored under their content's hash.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use data_encoding::BASE64;

use crate::defect::Defect;
use crate::world::World;

#[derive(Clone, Copy)]
pub enum Folder {
    Messages,
    Avatars,
}

/// Extension and content type of the image, if the bytes are one.
pub fn sniff(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some(("png", "image/png"))
    } else if bytes.starts_with(b"\xff\xd8\xff") {
        Some(("jpg", "image/jpeg"))
    } else if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") {
        Some(("gif", "image/gif"))
    } else if bytes.len() >= 12 && bytes.starts_with(b"RIFF") && &bytes[8..12] == b"WEBP" {
        Some(("webp", "image/webp"))
    } else {
        None
    }
}

/// Whether a path is one that `store_file` may have answered.
pub fn is_path(path: &str) -> bool {
    let file = path.strip_prefix("/storage/images/").and_then(|rest| rest.split_once('/'));
    let Some((folder, file)) = file else { return false };
    let Some((name, extension)) = file.split_once('.') else { return false };
    matches!(folder, "messages" | "avatars")
        && name.len() == 24
        && name.bytes().all(|byte| byte.is_ascii_hexdigit())
        && matches!(extension, "png" | "jpg" | "gif" | "webp")
}

pub fn decode_data_url(url: &str) -> Option<Vec<u8>> {
    let rest = url.strip_prefix("data:image/")?;
    let (kind, data) = rest.split_once(";base64,")?;
    if !matches!(kind, "png" | "jpeg" | "gif" | "webp") {
        return None;
    }
    BASE64.decode(data.as_bytes()).ok()
}

impl World {
    /// Stores an image and returns its path; `None` when the bytes are no image.
    pub fn store_file(&mut self, folder: Folder, bytes: &[u8]) -> Option<String> {
        let (extension, content_type) = match sniff(bytes) {
            Some(kind) => kind,
            None if self.has(Defect::TrustsImageNames) => ("png", "image/png"),
            None => return None,
        };
        let folder = match folder {
            Folder::Messages => "messages",
            Folder::Avatars => "avatars",
        };
        let hash = match self.has(Defect::SameName) {
            true => 0,
            false => BuildHasherDefault::<DefaultHasher>::default().hash_one(bytes),
        };
        let path = format!("/storage/images/{folder}/{hash:016x}{:08x}.{extension}", bytes.len());
        self.files.insert(path.clone(), (content_type, bytes.to_vec()));
        Some(path)
    }
}
