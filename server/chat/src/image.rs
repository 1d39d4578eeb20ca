//! The `img` of a message: nothing, one of our URLs, or the bytes of a picture.

use crate::refusal::Refusal;

/// What an `img` asks for.
pub(crate) enum Image {
    None,
    /// One of our own URLs.
    Url,
    /// The decoded bytes of a data URL.
    Data(Vec<u8>),
}

pub(crate) fn image(img: &str, bytes_max: usize) -> Result<Image, Refusal> {
    use base64::Engine as _;
    if img.is_empty() {
        return Ok(Image::None);
    }
    let Some(rest) = img.strip_prefix("data:") else {
        let is_own = img.starts_with("/storage/")
            && img.len() <= 512
            && !img.contains("..")
            && is_plain(img);
        return if is_own { Ok(Image::Url) } else { Err(Refusal::ImageInvalid) };
    };
    let (kind, data) = rest.split_once(";base64,").ok_or(Refusal::ImageInvalid)?;
    if !matches!(kind, "image/png" | "image/jpeg" | "image/jpg" | "image/gif" | "image/webp") {
        return Err(Refusal::ImageInvalid);
    }
    if data.len() / 4 * 3 > bytes_max + 3 {
        return Err(Refusal::TooLarge);
    }
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(data)
        .map_err(|_| Refusal::ImageInvalid)?;
    if bytes.len() > bytes_max {
        return Err(Refusal::TooLarge);
    }
    Ok(Image::Data(bytes))
}

/// A path that a page may write into an attribute without escaping it. Spec: CHAT-46.
fn is_plain(path: &str) -> bool {
    path.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"'&`\\".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_an_image_holds_no_markup() {
        let is_own = |img: &str| matches!(image(img, 1000), Ok(Image::Url));
        for own in ["/storage/images/messages/ab/x.png", "/storage/a%20b/c-d_e.jpg?v=1"] {
            assert!(is_own(own), "{own}");
        }
        for mark in ["<", ">", "\"", "'", "&", "`", "\\", " ", "\n", "\u{7f}", "é"] {
            assert!(!is_own(&format!("/storage/images/x{mark}.png")), "{mark:?}");
        }
        let at_bound = format!("/storage/{}", "x".repeat(503));
        assert!(is_own(&at_bound) && !is_own(&format!("{at_bound}x")));
    }
}
