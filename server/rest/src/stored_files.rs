//! Serving of uploaded images.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tower::ServiceExt;
use tower_http::services::ServeFile;

use crate::{Api, answer};

/// Of a file that is being sent, some pieces are in memory for as long as the client does not read.
const PIECE_BYTES: usize = 8 * 1024;

/// Serves the paths that the store makes; every other path is not found.
pub(crate) async fn serve(State(api): State<Api>, request: Request) -> Response {
    let Some(image) = api.deps.store.stored_image(request.uri().path()) else {
        return answer::not_found().await;
    };
    let mime = image.format.mime().parse::<mime::Mime>().expect("the store's MIME types are valid");
    let file = ServeFile::new_with_mime(&image.path, &mime).with_buf_chunk_size(PIECE_BYTES);
    let Ok(served) = file.oneshot(request).await;
    let mut response = served.into_response();
    if response.status() == StatusCode::NOT_FOUND {
        return answer::not_found().await;
    }
    let headers = response.headers_mut();
    // The name is the hash of the content: it never changes.
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=31536000, immutable"),
    );
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    response
}
