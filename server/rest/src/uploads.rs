//! Uploaded images: of messages, and avatars.

use std::sync::atomic::Ordering::Relaxed;

use axum::body::{Body as RequestBody, Bytes};
use axum::extract::multipart::{Multipart, MultipartError};
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde_json::{Map, Value, json};
use throng_store::{ImageError, ImageKind, StoreError, UserRow};
use tokio::sync::Semaphore;

use crate::answer::{Refusal, ok};
use crate::identity::{Identity, LookedUp, identify};
use crate::input::{Body, content_type};
use crate::{Api, ApiState};

const BAD_MESSAGE_IMAGE: &str = "Invalid parameters (room or image file is missing or invalid)";
const BAD_AVATAR: &str = "Invalid parameters (the avatar image is missing or invalid)";

/// Fields of a multipart body; the original client sends three.
const FIELDS_MAX: usize = 16;

/// Slots for uploads in memory. Uploads whose token may be in the body have slots of their own, so
/// that anonymous clients cannot occupy those of users.
pub(crate) struct UploadSlots {
    identified: Semaphore,
    anonymous: Semaphore,
}

impl UploadSlots {
    pub fn new(at_once_max: usize) -> Self {
        let slots = || Semaphore::new(at_once_max.max(1));
        Self { identified: slots(), anonymous: slots() }
    }
}

/// Stores an image for a message; the message itself is sent over the socket.
pub(crate) async fn message_image(
    State(api): State<Api>,
    request: Request,
) -> Result<Response, Refusal> {
    let (user, upload) = receive(&api, request).await?;
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
    let (user, upload) = receive(&api, request).await?;
    let Some(file) = upload.file else {
        return Ok(refused(BAD_AVATAR));
    };
    take(&api, user.id, &file)?;
    let url = match api.deps.store.save_image(ImageKind::Avatars, file).await {
        Ok(url) => url,
        Err(error) => return refused_image(error, BAD_AVATAR),
    };
    if let Some(user) = api.deps.store.set_avatar(user.id, &url).await? {
        (api.deps.on_user_changed)(&user);
    }
    Ok(ok(json!({ "errno": 0, "data": { "url": url }, "msg": "Saved" })))
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
    (api.deps.take_upload)(user, file.len() as u64).map_err(|wait| {
        api.deps.counters.uploads_refused.fetch_add(1, Relaxed);
        Refusal::TooMany(wait)
    })
}

/// Reads the whole body, whose size the route limits, and finds its user.
async fn receive(api: &ApiState, request: Request) -> Result<(UserRow, Upload), Refusal> {
    // The head of the request is needed before and after the body.
    let (mut parts, body) = request.into_parts();
    let identity = identify(api, &parts, None).await;
    let is_identified = identity.is_ok();
    if let Ok(Identity { user, presented, .. }) = identity {
        parts.extensions.insert(LookedUp { presented, user });
    }
    let slots =
        if is_identified { &api.upload_slots.identified } else { &api.upload_slots.anonymous };
    let _slot = slots.acquire().await.map_err(|_| Refusal::Store(StoreError::Closed))?;
    let upload = read(&parts, body).await?;
    let identity = identify(api, &parts, Some(&upload.fields)).await?;
    Ok((identity.user, upload))
}

/// Any other body than multipart has no file.
async fn read(parts: &Parts, body: RequestBody) -> Result<Upload, Refusal> {
    let is_multipart =
        content_type(&parts.headers).is_some_and(|kind| kind.starts_with("multipart/form-data"));
    let request = Request::from_parts(parts.clone(), body);
    if !is_multipart {
        let fields = Body::from_request(request, &()).await?;
        return Ok(Upload { fields, file: None });
    }
    let mut multipart =
        Multipart::from_request(request, &()).await.map_err(|_| Refusal::BadBody)?;
    let mut fields = Map::new();
    let mut file = None;
    for _ in 0..FIELDS_MAX {
        let Some(field) = multipart.next_field().await.map_err(refusal)? else {
            return Ok(Upload { fields: Body::new(fields), file });
        };
        let name = field.name().unwrap_or("").to_owned();
        let bytes = field.bytes().await.map_err(refusal)?;
        if name == "file" {
            file = (!bytes.is_empty()).then_some(bytes);
        } else if let Ok(text) = std::str::from_utf8(&bytes) {
            fields.insert(name, Value::from(text));
        }
    }
    Err(Refusal::BadBody)
}

fn refusal(error: MultipartError) -> Refusal {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Refusal::TooLarge
    } else {
        Refusal::BadBody
    }
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
