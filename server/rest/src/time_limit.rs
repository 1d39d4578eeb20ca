//! The time a request may take, and whose fault it is that it takes longer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body::{Frame, SizeHint};

use crate::answer::Refusal;

/// Ends a request after a time limit: with 408 while its body is waited for, with 503 otherwise.
pub(crate) async fn time_limit(
    State(timeout): State<Duration>,
    request: Request,
    next: Next,
) -> Response {
    let is_waited_for = Arc::<AtomicBool>::default();
    let watched = Arc::clone(&is_waited_for);
    let request = request.map(|body| Body::new(Watched { body, is_waited_for: watched }));
    match tokio::time::timeout(timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) if is_waited_for.load(Relaxed) => Refusal::TooSlow.into_response(),
        Err(_) => Refusal::TooLong.into_response(),
    }
}

/// A body of which it is known whether somebody waits for its next piece.
struct Watched {
    body: Body,
    is_waited_for: Arc<AtomicBool>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.is_waited_for.store(polled.is_pending(), Relaxed);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::Router;
    use axum::middleware::from_fn_with_state;
    use axum::routing::{get, post};
    use tower::ServiceExt;

    use super::*;

    /// A body that never comes.
    struct Nothing;

    impl HttpBody for Nothing {
        type Data = Bytes;
        type Error = axum::Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn what_takes_long_here_is_503_and_a_body_that_does_not_come_408() {
        let hang = || async { pending::<&str>().await };
        let hang_after_body = |_: Bytes| async { pending::<&str>().await };
        let router = Router::new()
            .route("/hang", get(hang).post(hang))
            .route("/body", post(hang_after_body))
            .layer(from_fn_with_state(Duration::from_millis(20), time_limit));
        for (method, path, body, want) in [
            ("GET", "/hang", Body::empty(), 503),
            ("POST", "/hang", Body::new(Nothing), 503),
            ("POST", "/body", Body::from("{}"), 503),
            ("POST", "/body", Body::new(Nothing), 408),
        ] {
            let request = Request::builder().method(method).uri(path).body(body).expect("request");
            let answer = router.clone().oneshot(request).await.expect("infallible");
            assert_eq!(answer.status(), want, "{method} {path}");
        }
    }
}
