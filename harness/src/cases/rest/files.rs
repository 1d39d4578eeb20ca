//! Chapter 9: uploads and stored files.

use std::collections::BTreeSet;

use crate::cases::images::{GIF, JPEG, PNG, WEBP};
use crate::cases::prelude::*;
use crate::client::http::Connection;

cases! {
    upload_image "rest.upload-image" ["REST-50", "REST-53", "REST-54", "REST-55", "REST-56"] over NONE needs CHAT_OF_NEW_USERS
        does "uploads images of four types with wrong names and content types, twice"
        expects "Saved, a URL with the extension of the real type, safe headers, and one URL for the same bytes";
    upload_faults "rest.upload-faults" ["REST-52", "REST-53"] over NONE needs CHAT_OF_NEW_USERS
        does "uploads nothing, an empty file, HTML and SVG with image names, and images to unknown rooms"
        expects "errno 500 and the text";
    upload_too_large "rest.upload-too-large" ["REST-52", "LIM-10"] over NONE needs CHAT_OF_NEW_USERS
        does "uploads more than 3 MiB"
        expects "errno 500, or status 413";
    avatar "rest.avatar" ["REST-51", "REST-58"] over NONE needs CHAT_OF_NEW_USERS
        does "uploads an avatar"
        expects "Saved, a URL that serves the bytes, and the user's avatar is that URL";
    upload_asked "rest.upload-asked" ["REST-59", "TRN-110", "REST-5"] over NONE needs CHAT_OF_NEW_USERS
        does "begins uploads with a token that nobody has and one that was logged out, and sends nothing of their bodies"
        expects "401 at once; a client that sends 4 MiB behind it can read it";
    uploads_apart "rest.uploads-apart" ["LIM-90"] over NONE needs CHAT
        does "begins 40 uploads as one user and does not go on with them, and uploads as another"
        expects "the other's is stored at once; the 40 are answered with status 408 10 s after they began";
    storage_paths "rest.storage-paths" ["REST-57", "REST-73"] over NONE needs CHAT_OF_NEW_USERS
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
    // Of one type and one size.
    for last in [b"1", b"2"] {
        let bytes = [PNG, last.as_slice()].concat();
        let answer =
            rest.upload("/api/file/uploadimg", fields, Some(("c.png", "image/png", &bytes)))?;
        let url = answer.json()["url"].as_str().unwrap_or("").to_owned();
        let is_new = urls.insert(url);
        answers(is_new, &answer, "another URL for other bytes")?;
    }
    equal("the number of URLs", &urls.len(), &6)?;
    let page = rest.history(&guest.user.token, room, 1, 0)?;
    equal("the messages in the room", &page["total"], &json!(context.base(room)))
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

const AT_ONCE: Duration = Duration::from_secs(2);

/// The head of an upload whose token is in the query.
fn upload_head(context: &Context, token: &str, length: usize) -> String {
    format!(
        "POST /api/file/avatar?api_token={token} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n\
         Content-Type: multipart/form-data; boundary=edge\r\n\r\n",
        context.target().authority
    )
}

fn upload_asked(context: &Context) -> Outcome {
    let ended = context.user()?.token;
    status(&context.rest().post("/api/logout", &json!({ "api_token": ended }))?, 200)?;
    for token in ["z".repeat(60), ended, "short".to_owned()] {
        context.step("the head of an upload, and no byte of its body");
        let response = upload_answer(context, AT_ONCE, |connection| {
            connection.send_bytes(upload_head(context, &token, 1_000_000).as_bytes())
        })?;
        status(&response, 401)?;
        equal("the body", &response.json(), &json!({ "message": "Unauthenticated." }))?;
        context.step("all of an upload, and then its answer");
        let body = vec![b'x'; 4 << 20];
        let response = upload_answer(context, context.wait(), |connection| {
            connection.send_bytes(upload_head(context, &token, body.len()).as_bytes())?;
            connection.send_quietly(&body)
        })?;
        status(&response, 401)?;
    }
    Ok(())
}

/// The answer to what is sent on a connection of its own.
fn upload_answer(
    context: &Context,
    wait: Duration,
    send: impl Fn(&mut Connection) -> Result<(), ClientError>,
) -> Result<Response, ClientError> {
    context.rest().until_admitted(|| {
        let mut connection = context.connection()?;
        send(&mut connection)?;
        connection.receive(wait)
    })
}

fn uploads_apart(context: &Context) -> Outcome {
    let (slow, quick) = (context.user()?, context.user()?);
    let began = Instant::now();
    let mut held = Vec::new();
    for _ in 0..40 {
        let mut connection = context.connection()?;
        let head = upload_head(context, &slow.token, 100_000);
        connection.send_bytes(format!("{head}--edge\r\n").as_bytes())?;
        held.push(connection);
    }
    context.step("the other user uploads");
    let fields = &[("api_token", quick.token.as_str())];
    let file = Some(("me.png", "image/png", PNG));
    let (begun, paused) = (Instant::now(), context.transcript.paused());
    let answer = context.rest().upload("/api/file/avatar", fields, file)?;
    // Without what a limit of requests has put it off.
    let took = begun.elapsed().saturating_sub(context.transcript.paused() - paused);
    has_fields(&answer.json(), json!({ "errno": 0 }))?;
    require(took < AT_ONCE, "an answer within 2 s", || {
        format!("one after {} ms", took.as_millis())
    })?;
    context.step("the uploads that did not go on");
    for mut connection in held {
        // What put the other's upload off may have taken longer than that.
        let left = Duration::from_secs(15).saturating_sub(began.elapsed());
        status(&connection.receive(left.max(Duration::from_secs(1)))?, 408)?;
    }
    require(began.elapsed() > Duration::from_secs(9), "10 s before they are answered", || {
        format!("{} ms", began.elapsed().as_millis())
    })
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
