//! A connection of which a shard has read the beginning.

use std::io;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::activity::Activity;

/// Bytes that are read at once between two requests: a head. What a client sends ahead stays with it, and hyper
/// finds no reason to read into a larger buffer.
const READ_AHEAD_BYTES: usize = 4096;

/// Where a connection is left that hyper has closed: it has been answered, and may have unread bytes.
#[derive(Clone, Default)]
pub(super) struct Closed(Arc<Mutex<Option<TcpStream>>>);

impl Closed {
    pub(super) fn take(&self) -> Option<TcpStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

pub(super) struct Prefixed {
    prefix: Bytes,
    /// `None` once hyper has closed it.
    stream: Option<TcpStream>,
    closed: Closed,
    activity: Activity,
    /// Of all connections.
    unsent: Arc<AtomicUsize>,
}

impl Prefixed {
    pub(super) fn new(
        prefix: Vec<u8>,
        stream: TcpStream,
        activity: Activity,
        unsent: Arc<AtomicUsize>,
        closed: Closed,
    ) -> Prefixed {
        Prefixed { prefix: prefix.into(), stream: Some(stream), closed, activity, unsent }
    }

    fn open(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Reports what was written.
    fn written(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes @ 1..)) = polled {
            self.activity.has_written(bytes, &self.unsent);
        }
        polled
    }

    /// The rest of the prefix, and the stream.
    pub(super) fn into_parts(self) -> (Bytes, TcpStream) {
        (self.prefix, self.stream.expect("a connection is upgraded or closed, not both"))
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            if self.activity.is_serving() {
                return self.open()?.poll_read(cx, into);
            }
            let most = into.remaining().min(READ_AHEAD_BYTES);
            let mut piece = ReadBuf::new(into.initialize_unfilled_to(most));
            let polled = self.open()?.poll_read(cx, &mut piece);
            let count = piece.filled().len();
            into.advance(count);
            if count > 0 {
                self.activity.has_read();
            }
            return polled;
        }
        self.activity.has_read();
        let count = self.prefix.len().min(into.remaining());
        into.put_slice(&self.prefix[..count]);
        self.prefix.advance(count);
        if self.prefix.is_empty() {
            // Else it keeps its memory for as long as the connection.
            self.prefix = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = self.open()?.poll_write(cx, bytes);
        self.written(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = self.open()?.poll_write_vectored(cx, pieces);
        self.written(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.open()?.poll_flush(cx)
    }

    /// Only leaves the connection: what serves it closes it.
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(stream) = self.stream.take() {
            *self.closed.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
        }
        Poll::Ready(Ok(()))
    }
}
