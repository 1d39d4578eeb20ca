//! The path under which an image is served: `/storage/images/<kind>/<2>/<hash>.<extension>`.
//!
//! Whether a path is one is judged here and nowhere else, by its form alone: what has any other form, such as
//! dots, percent signs or a query, is no path that was ever given out.
//!
//! Spec: CHAT-45, CHAT-46, REST-25, REST-50, REST-51, REST-57.

use std::fmt;

const PREFIX: &str = "/storage/images/";
/// Hexadecimal digits of a SHA-256.
const HASH_CHARS: usize = 64;
/// Digits of the hash that name a folder, so that none holds all files.
const FOLDER_CHARS: usize = 2;

/// What an image is for; also its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageKind {
    /// Images in messages.
    Messages,
    /// Avatars of users.
    Avatars,
}

impl ImageKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Messages, Self::Avatars];

    /// Name of the folder and of the segment of the path.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Avatars => "avatars",
        }
    }
}

/// The formats that every browser shows and none executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFormat {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// GIF.
    Gif,
    /// WebP.
    Webp,
}

impl ImageFormat {
    /// All that are stored.
    pub const ALL: [Self; 4] = [Self::Png, Self::Jpeg, Self::Gif, Self::Webp];

    /// Extension of stored files.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Gif => "gif",
            Self::Webp => "webp",
        }
    }

    /// MIME type.
    #[must_use]
    pub fn mime(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
        }
    }
}

/// The path of a stored image; written, it begins with a slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImagePath<'p> {
    /// What the image is for.
    pub kind: ImageKind,
    hash: &'p str,
    /// The format of its bytes.
    pub format: ImageFormat,
}

impl<'p> ImagePath<'p> {
    /// `None` if the hash is none: 64 digits `0–9 a–f`.
    #[must_use]
    pub fn new(kind: ImageKind, hash: &'p str, format: ImageFormat) -> Option<ImagePath<'p>> {
        let is_hash = hash.len() == HASH_CHARS
            && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_hash.then_some(ImagePath { kind, hash, format })
    }

    /// `None` for everything that is not exactly such a path. Whether the image exists is another question.
    #[must_use]
    pub fn parse(path: &'p str) -> Option<ImagePath<'p>> {
        let (kind, rest) = path.strip_prefix(PREFIX)?.split_once('/')?;
        let (folder, file) = rest.split_once('/')?;
        let (hash, extension) = file.split_once('.')?;
        let kind = ImageKind::ALL.into_iter().find(|known| known.name() == kind)?;
        let mut known = ImageFormat::ALL.into_iter();
        let format = known.find(|format| format.extension() == extension)?;
        ImagePath::new(kind, hash, format).filter(|path| path.folder() == folder)
    }

    /// The hash of the image.
    #[must_use]
    pub fn hash(&self) -> &'p str {
        self.hash
    }

    fn folder(&self) -> &'p str {
        &self.hash[..FOLDER_CHARS]
    }

    /// The path below the folder of all images, without a slash before it.
    #[must_use]
    pub fn relative(&self) -> String {
        let ImagePath { kind, hash, format } = self;
        format!("{}/{}/{hash}.{}", kind.name(), self.folder(), format.extension())
    }
}

impl fmt::Display for ImagePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.relative())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> String {
        format!("/storage/images/messages/ab/{}.png", "ab".repeat(32))
    }

    #[test]
    fn a_path_is_read_as_it_is_written() {
        for kind in ImageKind::ALL {
            for format in ImageFormat::ALL {
                let hash = "0f".repeat(32);
                let path = ImagePath::new(kind, &hash, format).expect("a hash");
                let written = path.to_string();
                assert_eq!(ImagePath::parse(&written), Some(path), "{written}");
            }
        }
        assert!(ImagePath::parse(&own()).is_some());
    }

    #[test]
    fn every_other_form_is_no_path() {
        let hash = "ab".repeat(32);
        let other = [
            format!("/storage/images/messages/ab/{hash}.svg"),
            format!("/storage/images/messages/ab/{hash}"),
            format!("/storage/images/messages/cd/{hash}.png"),
            format!("/storage/images/messages/ab/{hash}.png/"),
            format!("/storage/images/messages/ab/../ab/{hash}.png"),
            format!("/storage/images/other/ab/{hash}.png"),
            format!("/storage/images/messages/AB/{}.png", "AB".repeat(32)),
            format!("/storage/images/messages/ab/{}.png", "ab".repeat(31)),
            format!("/storage/images/messages/ab/{}.png", "é".repeat(32)),
            format!("storage/images/messages/ab/{hash}.png"),
            format!("https://x{}", own()),
            format!("//x{}", own()),
            format!("{}?v=1", own()),
            format!("{}#x", own()),
            format!("{} ", own()),
            own().replacen("/ab/", "//ab/", 1),
            own().replacen("/ab/", "/./ab/", 1),
            own().replace(".png", ".PNG"),
            own().replace(".png", "%2epng"),
            own().replace(".png", ".png%00"),
            own().replace(".png", ".png\0"),
            "/storage/images/messages/%2e%2e/%2e%2e/throng.db".into(),
            "/storage/images/messages/%2E./x.png".into(),
            "/storage/images/messages/..%5c..%5cx.png".into(),
            "/storage/images/messages/%252e%252e/x.png".into(),
            "/storage/images/messages/../../throng.db".into(),
            "/storage/throng.db".into(),
            "/storage/images/messages".into(),
            String::new(),
        ];
        for path in other {
            assert_eq!(ImagePath::parse(&path), None, "{path}");
        }
        // No character of it may be another.
        for at in 0..own().len() {
            for mark in ["%", ".", "/", "\\", "<", "\"", "g", "é"] {
                let mut path = own();
                path.replace_range(at..=at, mark);
                assert!(path == own() || ImagePath::parse(&path).is_none(), "{path}");
            }
        }
    }
}
