//! Uploaded images: of messages, and avatars.
//!
//! Who uploads is asked before the body is read. Clients that send their token in the body are strangers until
//! it has come.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::body::{Body as RequestBody, Bytes};
use axum::extract::multipart::Multipart;
use axum::extract::{FromRequest, Request, State};
use axum::http::request::Parts;
use axum::response::Response;
use serde_json::json;
use throng_store::{ImageError, ImageKind, StoreError, UserRow};

use crate::answer::{Refusal, ok};
use crate::bodies::{Arriving, Owner};
use crate::completion::to_its_end;
use crate::identity::{Identity, LookedUp, identify, is_in_query};
use crate::input::{Body, client, content_type};
use crate::{Api, ApiState};

const BAD_MESSAGE_IMAGE: &str = "Invalid parameters (room or image file is missing or invalid)";
const BAD_AVATAR: &str = "Invalid parameters (the avatar image is missing or invalid)";

/// Fields of a multipart body; the original client sends three.
const FIELDS_MAX: usize = 16;

/// Stores an image for a message; the message itself is sent over the socket.
pub(crate) async fn message_image(
    State(api): State<Api>,
    request: Request,
) -> Result<Response, Refusal> {
    let Received { user, upload, _arriving } = receive(&api, request).await?;
    let room = upload
        .fields
        .trimmed("roomid")
        .and_then(|value| value.as_str().and_then(|text| text.parse::<u32>().ok()));
    let (Some(room), Some(file)) = (room, upload.file) else {
        return Ok(refused(BAD_MESSAGE_IMAGE));
    };
    if api.deps.store.room(room).await?.is_none() {
        return Ok(refused(BAD_MESSAGE_IMAGE));
    }
    take(&api, user.id, &file)?;
    match api.deps.store.save_image(ImageKind::Messages, file).await {
        Ok(url) => Ok(ok(json!({ "errno": 200, "msg": "Saved", "url": url }))),
        Err(error) => refused_image(error, BAD_MESSAGE_IMAGE),
    }
}

/// Stores an image and makes it the user's avatar.
pub(crate) async fn avatar(State(api): State<Api>, request: Request) -> Result<Response, Refusal> {
    let Received { user, upload, _arriving } = receive(&api, request).await?;
    let Some(file) = upload.file else {
        return Ok(refused(BAD_AVATAR));
    };
    take(&api, user.id, &file)?;
    let url = match api.deps.store.save_image(ImageKind::Avatars, file).await {
        Ok(url) => url,
        Err(error) => return refused_image(error, BAD_AVATAR),
    };
    to_its_end(set_avatar(Arc::clone(&api), user.id, url.clone())).await?;
    Ok(ok(json!({ "errno": 0, "data": { "url": url }, "msg": "Saved" })))
}

/// Changes the avatar, and notifies the shards of it.
async fn set_avatar(api: Api, user: u32, url: String) -> Result<(), StoreError> {
    if let Some(user) = api.deps.store.set_avatar(user, &url).await? {
        (api.deps.on_user_changed)(&user);
    }
    Ok(())
}

/// The parts of a multipart body.
#[derive(Default)]
struct Upload {
    /// Text fields, the token among them.
    fields: Body,
    /// The field `file`. The client's file name and type are ignored: the original client sends cropped
    /// PNG under the name and type of the picture it was cropped from.
    file: Option<Bytes>,
}

/// Books the upload for its user. Spec: LIM-87, LIM-88, REST-28.
fn take(api: &ApiState, user: u32, file: &Bytes) -> Result<(), Refusal> {
    (api.deps.take_upload)(user, file.len() as u64).map_err(|over| {
        api.deps.counters.uploads_refused.fetch_add(1, Relaxed);
        Refusal::TooMany(over)
    })
}

/// An upload, and whose it is.
struct Received {
    user: UserRow,
    upload: Upload,
    /// What has come is on the account of its user until it is stored.
    _arriving: Arriving,
}

/// Finds out whose the upload is, and reads the whole body.
///
/// Spec: REST-59, LIM-90.
async fn receive(api: &ApiState, request: Request) -> Result<Received, Refusal> {
    // The head of the request is needed before and after the body.
    let (mut parts, body) = request.into_parts();
    let owner = match identify(api, &parts, None).await {
        Ok(identity) => Owner::User(remember(&mut parts, identity).id),
        Err(Refusal::Unauthenticated) if !is_in_query(&parts.uri) => {
            Owner::Stranger(client(&parts))
        }
        Err(why) => return Err(why),
    };
    let settings = &api.deps.settings;
    let is_multipart =
        content_type(&parts.headers).is_some_and(|kind| kind.starts_with("multipart/form-data"));
    let most = if is_multipart { settings.upload_bytes_max } else { settings.body_bytes_max };
    let arriving = api.bodies.begin(owner, most);
    let body = arriving.meter(body)?;
    let upload = if is_multipart {
        arriving.read(read(api, &mut parts, body, &arriving)).await?
    } else {
        // Any other body has no file.
        let fields = arriving.read(Body::read(&parts.headers, body)).await?;
        Upload { fields, file: None }
    };
    let user = identify(api, &parts, Some(&upload.fields)).await?.user;
    Ok(Received { user, upload, _arriving: arriving })
}

/// Its token is not looked up again for this request.
fn remember(parts: &mut Parts, identity: Identity) -> UserRow {
    let Identity { user, presented, .. } = identity;
    parts.extensions.insert(LookedUp { presented, user: Some(user.clone()) });
    user
}

async fn read(
    api: &ApiState,
    parts: &mut Parts,
    body: RequestBody,
    arriving: &Arriving,
) -> Result<Upload, Refusal> {
    let request = Request::from_parts(parts.clone(), body);
    let mut multipart =
        Multipart::from_request(request, &()).await.map_err(|_| Refusal::BadBody)?;
    let mut upload = Upload::default();
    for _ in 0..FIELDS_MAX {
        let field = multipart.next_field().await.map_err(|_| Refusal::BadBody)?;
        let Some(field) = field else { return Ok(upload) };
        let name = field.name().unwrap_or("").to_owned();
        let bytes = field.bytes().await.map_err(|_| Refusal::BadBody)?;
        if name == "file" {
            upload.file = (!bytes.is_empty()).then_some(bytes);
            continue;
        }
        let Ok(text) = std::str::from_utf8(&bytes) else { continue };
        let is_token = name == "api_token";
        upload.fields.insert(name, text);
        if is_token {
            // What comes behind it is its user's.
            let identity = identify(api, parts, Some(&upload.fields)).await?;
            arriving.is_of(remember(parts, identity).id);
        }
    }
    Err(Refusal::BadBody)
}

fn refused(text: &str) -> Response {
    ok(json!({ "errno": 500, "msg": text }))
}

fn refused_image(error: ImageError, text: &str) -> Result<Response, Refusal> {
    match error {
        ImageError::Unsupported | ImageError::TooLarge | ImageError::TooManyPixels => {
            Ok(refused(text))
        }
        ImageError::Store(error) => Err(error.into()),
    }
}
