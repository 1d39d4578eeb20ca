//! Chapter 4: images in messages.

use data_encoding::BASE64;

use super::prelude::*;

cases! {
    image "msg.image" ["CHAT-45", "REST-54", "CHAT-46"] over EVERY needs CHAT_OF_NEW_USERS
        does "sends data URLs of the four image types, then the resulting URL"
        expects "the event contains a path below /storage/images/ that serves the bytes";
    bad_image "msg.bad-image" ["CHAT-47", "CHAT-46"] over EVERY needs CHAT
        does "sends other URLs, paths with markup or percent signs, other types, text declared as an image, and bad base64"
        expects "image_invalid for each, and nothing is delivered";
    big_image "msg.big-image" ["CHAT-47", "LIM-10"] over EIO4 needs CHAT
        does "sends an image of 3 MiB plus one byte"
        expects "too_large, if the payload limit lets it through";
}

pub const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\
\0\0\0\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\0\x05\0\x01\xff\x89\x99=\x1d\0\0\0\0IEND\xaeB`\x82";

pub const GIF: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

pub const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\
\xff\xc0\0\x0b\x08\0\x01\0\x01\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0?\0\x7f\xff\xd9";

pub const WEBP: &[u8] =
    b"RIFF\x1a\0\0\0WEBPVP8L\r\0\0\0/\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0";

fn data_url(kind: &str, bytes: &[u8]) -> String {
    format!("data:image/{kind};base64,{}", BASE64.encode(bytes))
}

fn image(context: &Context) -> Outcome {
    let (room, one, two) = guest_and_witness(context)?;
    let mut url = String::new();
    for (kind, bytes) in [("png", PNG), ("gif", GIF), ("jpeg", JPEG), ("webp", WEBP)] {
        context.step(format!("sends a {kind}"));
        let img = img_of(&one, &two, room, &data_url(kind, bytes))?;
        url = img.as_str().unwrap_or("").to_owned();
        require(url.starts_with("/storage/images/"), "a path below /storage/images/", || {
            url.clone()
        })?;
        let file = context.get(&url)?;
        status(&file, 200)?;
        require(file.body == bytes, "the bytes that were sent", || format!("{:?}", file.body))?;
        header(&file, "Content-Type", &format!("image/{kind}"))?;
    }
    context.step("sends a path of the server as img");
    equal("img", &img_of(&one, &two, room, &url)?, &json!(url))
}

/// What `two` gets as the image when `one` sends `img`.
fn img_of(one: &Chat, two: &Chat, room: u64, img: &str) -> Result<Value, Stop> {
    let answer = one.ask("message", json!({ "roomid": room, "msg": "", "img": img }))?;
    accepts(&answer)?;
    Ok(two.message_of(&answer)?.arg(0)["img"].clone())
}

fn bad_image(context: &Context) -> Outcome {
    let (room, one, two) = guest_and_witness(context)?;
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>";
    let long = format!("/storage/{}", "x".repeat(600));
    let false_images =
        [data_url("svg+xml", svg), data_url("png", svg), data_url("jpeg", b"just text"), long];
    let texts = [
        "https://evil.example/x.png",
        "javascript:alert(1)",
        "x",
        "/etc/passwd",
        "/storage/../secret",
        "/storage/images/x.png\"><script>alert(1)</script>",
        "/storage/images/x.png' onerror='alert(1)",
        "/storage/images/x.png?a&lt;b",
        "/storage/images/%2e%2e/x.png",
        "/storage/images/%2E./x.png",
        "/storage/images/..%5c..%5cx.png",
        "/storage/images/x.png%00",
        "/storage/images/%252e%252e/x.png",
        "/storage/images//x.png",
        "/storage/images/x.png?v=1",
        "data:image/png;base64,%%%%",
        "data:image/png;base64,",
        "data:text/html;base64,PGI+",
        "data:image/png,plain",
    ];
    for img in texts.map(str::to_owned).into_iter().chain(false_images) {
        let arg = json!({ "roomid": room, "msg": "", "img": img });
        refuses_event(&one, "message", &arg, "image_invalid")?;
    }
    one.say_to(&two, room, "the end")?;
    equal("the messages received", &two.messages(room).len(), &1)
}

fn big_image(context: &Context) -> Outcome {
    let max = max_payload(context)?;
    let mut bytes = PNG.to_vec();
    bytes.resize(3_145_728 + 1, 0);
    let img = data_url("png", &bytes);
    if img.len() + 200 > max {
        return skip(format!(
            "maxPayload is {max}: an image above the limit of LIM-10 does not fit"
        ));
    }
    let (room, guest) = guest_in_room(context)?;
    refuses(&guest.ask("message", json!({ "roomid": room, "msg": "", "img": img }))?, "too_large")
}
