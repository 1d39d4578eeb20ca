//! Chapter 9: uploads and stored files.

use std::collections::BTreeSet;

use crate::cases::images::{GIF, JPEG, PNG, WEBP};
use crate::cases::prelude::*;

cases! {
    upload_image "rest.upload-image" ["REST-50", "REST-53", "REST-54", "REST-55", "REST-56"] over NONE needs CHAT
        does "uploads images of four types with wrong names and content types, twice"
        expects "Saved, a URL with the extension of the real type, safe headers, and one URL for the same bytes";
    upload_faults "rest.upload-faults" ["REST-52", "REST-53"] over NONE needs CHAT
        does "uploads nothing, an empty file, HTML and SVG with image names, and images to unknown rooms"
        expects "errno 500 and the text";
    upload_too_large "rest.upload-too-large" ["REST-52", "LIM-10"] over NONE needs CHAT
        does "uploads more than 3 MiB"
        expects "errno 500, or status 413";
    avatar "rest.avatar" ["REST-51", "REST-58"] over NONE needs CHAT
        does "uploads an avatar"
        expects "Saved, a URL that serves the bytes, and the user's avatar is that URL";
    storage_paths "rest.storage-paths" ["REST-57", "REST-73"] over NONE needs CHAT
        does "requests paths below /storage/ and paths with .."
        expects "404, and never another file";
}

fn upload_image(context: &Context) -> Outcome {
    let rest = context.rest();
    let (room, guest) = guest_in_room(context)?;
    let room_text = room.to_string();
    let fields = &[("api_token", guest.user.token.as_str()), ("roomid", room_text.as_str())];
    let mut urls = BTreeSet::new();
    for (bytes, extensions, mime) in [
        (PNG, ["png", "png"], "image/png"),
        (GIF, ["gif", "gif"], "image/gif"),
        (JPEG, ["jpg", "jpeg"], "image/jpeg"),
        (WEBP, ["webp", "webp"], "image/webp"),
    ] {
        let file = Some(("secret-name.html", "text/html", bytes));
        let response = rest.upload("/api/file/uploadimg", fields, file)?;
        let answer = response.json();
        has_fields(&answer, json!({ "errno": 200, "msg": "Saved" }))?;
        let url = answer["url"].as_str().unwrap_or("").to_owned();
        let is_stored = url.starts_with("/storage/images/messages/");
        answers(is_stored, &response, "/storage/images/messages/…")?;
        let extension = url.rsplit('.').next().unwrap_or("");
        let is_real = extensions.contains(&extension);
        answers(is_real, &response, &format!("the extension {extensions:?}"))?;
        let is_renamed = !url.contains("secret");
        answers(is_renamed, &response, "a name that does not contain the file name")?;
        let served = context.get(&format!("{url}?imageView2/2/w/360"))?;
        status(&served, 200)?;
        require(served.body == bytes, "the same bytes", || format!("{} bytes", served.body.len()))?;
        header(&served, "Content-Type", mime)?;
        header(&served, "X-Content-Type-Options", "nosniff")?;
        let policy = served.header("content-security-policy").unwrap_or("");
        answers(policy.contains("default-src 'none'"), &served, "default-src 'none'")?;
        let cache = served.header("cache-control").unwrap_or("").to_owned();
        let age = cache
            .split("max-age=")
            .nth(1)
            .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok());
        let is_long = age.is_some_and(|age| age >= 86_400);
        answers(is_long, &served, "a max-age of a day or more")?;
        let again =
            rest.upload("/api/file/uploadimg", fields, Some(("b.png", "image/png", bytes)))?;
        equal("the URL of the same bytes", &again.json()["url"], &json!(url))?;
        urls.insert(url);
    }
    equal("the number of URLs", &urls.len(), &4)?;
    let page = rest.history(&guest.user.token, room, 1, 0)?;
    equal("the messages in the room", &page["total"], &json!(0))
}

const BAD_IMAGE: &str = "Invalid parameters (room or image file is missing or invalid)";

const BAD_AVATAR: &str = "Invalid parameters (the avatar image is missing or invalid)";

fn is_refused(response: &Response, msg: &str) -> Outcome {
    equal("the answer", &response.json(), &json!({ "errno": 500, "msg": msg }))
}

fn upload_faults(context: &Context) -> Outcome {
    let rest = context.rest();
    let (room, guest) = guest_in_room(context)?;
    let token = guest.user.token.as_str();
    let room_text = room.to_string();
    let nowhere = unknown_room(room).to_string();
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'/>".as_slice();
    let html = b"<html><script>alert(1)</script>".as_slice();
    let files = [
        None,
        Some(("a.png", "image/png", b"".as_slice())),
        Some(("a.png", "image/png", html)),
        Some(("a.svg", "image/svg+xml", svg)),
        Some(("a.php", "image/png", b"<?php echo 1;".as_slice())),
    ];
    for file in files {
        let fields = &[("api_token", token), ("roomid", room_text.as_str())];
        context.step(format!("uploads {file:?}"));
        is_refused(&rest.upload("/api/file/uploadimg", fields, file)?, BAD_IMAGE)?;
        let response = rest.upload("/api/file/avatar", &[("api_token", token)], file)?;
        is_refused(&response, BAD_AVATAR)?;
    }
    for roomid in ["", "0", "x", nowhere.as_str()] {
        context.step(format!("uploads to room {roomid:?}"));
        let fields = &[("api_token", token), ("roomid", roomid)];
        let file = Some(("a.png", "image/png", PNG));
        is_refused(&rest.upload("/api/file/uploadimg", fields, file)?, BAD_IMAGE)?;
    }
    Ok(())
}

fn upload_too_large(context: &Context) -> Outcome {
    let guest = context.guest("guest")?;
    let mut bytes = PNG.to_vec();
    bytes.resize(3_145_728 + 1, 0);
    let fields = &[("api_token", guest.user.token.as_str())];
    let file = Some(("a.png", "image/png", bytes.as_slice()));
    let response = context.rest().upload("/api/file/avatar", fields, file)?;
    if response.status == 413 { Ok(()) } else { is_refused(&response, BAD_AVATAR) }
}

fn avatar(context: &Context) -> Outcome {
    let rest = context.rest();
    let user = context.user()?;
    let fields = &[("api_token", user.token.as_str())];
    let response = rest.upload("/api/file/avatar", fields, Some(("me.jpg", "image/jpeg", PNG)))?;
    let answer = response.json();
    has_exactly("the answer", &answer, &["errno", "data", "msg"])?;
    has_fields(&answer, json!({ "errno": 0, "msg": "Saved" }))?;
    let url = answer["data"]["url"].as_str().unwrap_or("").to_owned();
    let is_stored = url.starts_with("/storage/images/avatars/");
    answers(is_stored, &response, "/storage/images/avatars/…")?;
    let served = context.get(&url)?;
    answers(served.status == 200 && served.body == PNG, &served, "the same bytes")?;
    has_fields(&rest.get_as("/api/user", &user.token)?.json(), json!({ "avatar": url }))
}

fn storage_paths(context: &Context) -> Outcome {
    for path in [
        "/storage/",
        "/storage/images/",
        "/storage/images/messages/",
        "/storage/images/messages/none.png",
        "/storage/../Cargo.toml",
        "/storage/images/../../throng.db",
        "/storage/%2e%2e/%2e%2e/etc/passwd",
        "/storage/..%2f..%2fetc%2fpasswd",
        "/storage//etc/passwd",
        "/storage/images/messages/..\\..\\x",
    ] {
        context.step(path);
        let response = context.get(path)?;
        answers(matches!(response.status, 400 | 404), &response, "status 404")?;
    }
    for path in
        ["/../../../../etc/passwd", "/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd"]
    {
        let response = context.get(path)?;
        let is_served = response.text().contains("root:");
        answers(!is_served, &response, "no file outside the served folder")?;
    }
    Ok(())
}
