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
        let is_own = img.starts_with("/storage/") && img.len() <= 512 && !img.contains("..");
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
