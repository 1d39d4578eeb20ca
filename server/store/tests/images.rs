//! Uploaded images.

mod common;

use bytes::Bytes;
use common::{bench, bench_with};
use data_encoding::BASE64;
use throng_store::{ImageError, ImageFormat, ImageKind, decode_data_url};

const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const GIF: &str = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";
const WEBP: &str = "UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA";
const JPEG: &str = "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP//////////////////////////////////////////////////////////////////////////////////////wgALCAABAAEBAREA/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQABPxA=";

fn bytes(base64: &str) -> Bytes {
    BASE64.decode(base64.as_bytes()).expect("base64").into()
}

#[tokio::test]
async fn the_four_formats_are_kept_under_their_hash_and_own_extension() {
    let bench = bench().await;
    let cases = [
        (PNG, "png", ImageFormat::Png),
        (GIF, "gif", ImageFormat::Gif),
        (WEBP, "webp", ImageFormat::Webp),
        (JPEG, "jpg", ImageFormat::Jpeg),
    ];
    for (base64, extension, format) in cases {
        let image = bytes(base64);
        let url = bench.store.save_image(ImageKind::Messages, image.clone()).await.expect("save");
        let name = url.strip_prefix("/storage/images/messages/").expect("folder");
        let (prefix, file) = name.split_once('/').expect("prefix");
        let (hash, own_extension) = file.split_once('.').expect("extension");
        assert_eq!((hash.len(), &hash[..2], own_extension), (64, prefix, extension));
        let stored = bench.store.stored_image(&url).expect("own URL");
        assert_eq!(stored.format, format);
        assert_eq!(std::fs::read(&stored.path).expect("read"), image);
        let again = bench.store.save_image(ImageKind::Messages, image.clone()).await.expect("save");
        assert_eq!(again, url);
        let avatar = bench.store.save_image(ImageKind::Avatars, image).await.expect("save");
        assert_eq!(avatar, url.replace("messages", "avatars"));
    }
}

#[tokio::test]
async fn a_half_written_file_is_written_again() {
    let bench = bench().await;
    let url = bench.store.save_image(ImageKind::Messages, bytes(PNG)).await.expect("save");
    let path = bench.store.stored_image(&url).expect("own URL").path;
    std::fs::write(&path, b"half").expect("write");
    bench.store.save_image(ImageKind::Messages, bytes(PNG)).await.expect("save");
    assert_eq!(std::fs::read(&path).expect("read"), bytes(PNG));
    let left: Vec<_> = std::fs::read_dir(path.parent().expect("folder")).expect("list").collect();
    assert_eq!(left.len(), 1, "no temporary file stays");
}

#[tokio::test]
async fn everything_else_is_refused_and_leaves_nothing() {
    let bench = bench().await;
    let png = bytes(PNG);
    let refused: [&[u8]; 8] = [
        b"",
        b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>",
        b"<!doctype html><script>alert(1)</script>",
        b"<?php system($_GET['c']);",
        b"GIF89a",
        b"BM\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\x89PNG\r\n\x1a\n",
        &png[..20],
    ];
    for body in refused {
        let outcome = bench.store.save_image(ImageKind::Messages, Bytes::copy_from_slice(body));
        assert!(matches!(outcome.await, Err(ImageError::Unsupported)), "{body:?}");
    }
    for kind in ["messages", "avatars"] {
        let folder = bench.dir.path().join("storage/images").join(kind);
        assert_eq!(std::fs::read_dir(folder).expect("it is there").count(), 1, "its mark");
    }
}

#[tokio::test]
async fn size_is_bounded_in_bytes_and_in_pixels() {
    let png = bytes(PNG);
    let bench = bench_with(|options| {
        options.image_bytes_max = png.len();
        options.image_pixels_max = 4;
    })
    .await;
    assert!(bench.store.save_image(ImageKind::Messages, png.clone()).await.is_ok());
    let mut longer = png.to_vec();
    longer.push(0);
    let outcome = bench.store.save_image(ImageKind::Messages, longer.into()).await;
    assert!(matches!(outcome, Err(ImageError::TooLarge)), "{outcome:?}");
    // Width and height stand at bytes 16 and 20 of a PNG.
    let with_size = |width: u8, height: u8| {
        let mut sized = png.to_vec();
        (sized[19], sized[23]) = (width, height);
        Bytes::from(sized)
    };
    assert!(bench.store.save_image(ImageKind::Messages, with_size(2, 2)).await.is_ok());
    for (width, height) in [(5, 1), (1, 5)] {
        let outcome = bench.store.save_image(ImageKind::Messages, with_size(width, height)).await;
        assert!(matches!(outcome, Err(ImageError::TooManyPixels)), "{outcome:?}");
    }
    let outcome = bench.store.save_image(ImageKind::Messages, with_size(0, 1)).await;
    assert!(matches!(outcome, Err(ImageError::Unsupported)), "{outcome:?}");
}

#[tokio::test]
async fn only_own_urls_name_a_file() {
    let bench = bench().await;
    let hash = "ab".repeat(32);
    let own = format!("/storage/images/messages/ab/{hash}.png");
    assert!(bench.store.stored_image(&own).is_some());
    let other = [
        format!("/storage/images/messages/ab/{hash}.svg"),
        format!("/storage/images/messages/ab/{hash}"),
        format!("/storage/images/messages/cd/{hash}.png"),
        format!("/storage/images/messages/ab/{hash}.png/"),
        format!("/storage/images/messages/ab/../ab/{hash}.png"),
        format!("/storage/images/other/ab/{hash}.png"),
        format!("/storage/images/messages/AB/{}.png", "AB".repeat(32)),
        format!("/storage/images/messages/ab/{}.png", "ab".repeat(31)),
        format!("storage/images/messages/ab/{hash}.png"),
        format!("https://x/storage/images/messages/ab/{hash}.png"),
        "/storage/images/messages/../../throng.db".into(),
        "/storage/throng.db".into(),
        format!("/storage/images/messages/ab/{}.png", "é".repeat(32)),
        String::new(),
    ];
    for url in other {
        assert_eq!(bench.store.stored_image(&url), None, "{url}");
    }
}

#[test]
fn data_urls_of_the_four_formats_are_decoded() {
    let png = bytes(PNG);
    for mime in ["image/png", "image/jpeg", "image/jpg", "image/gif", "image/webp"] {
        let decoded = decode_data_url(&format!("data:{mime};base64,{PNG}"), png.len());
        assert_eq!(decoded.expect("decode"), png);
    }
    let refused = [
        format!("data:image/svg+xml;base64,{PNG}"),
        format!("data:text/html;base64,{PNG}"),
        format!("data:image/png,{PNG}"),
        format!("image/png;base64,{PNG}"),
        "data:image/png;base64,####".into(),
        "data:image/png;base64".into(),
        String::new(),
    ];
    for url in refused {
        assert!(matches!(decode_data_url(&url, 1 << 20), Err(ImageError::Unsupported)), "{url}");
    }
    let url = format!("data:image/png;base64,{PNG}");
    assert!(matches!(decode_data_url(&url, png.len() - 1), Err(ImageError::TooLarge)));
    assert!(matches!(decode_data_url(&url, 8), Err(ImageError::TooLarge)));
}
