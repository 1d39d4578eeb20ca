//! Long-polling: a GET that waits on one connection, POSTs on another.

use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use crate::client::Client;
use crate::clock::now_ns;
use crate::context::Context;
use crate::ended::Ended;
use crate::http::Http;
use crate::packets;
use crate::session::Turn;

/// Polls and posts until the session ends.
pub async fn talk(
    context: &Rc<Context>,
    client: &Rc<Client>,
    (poller, poster): (Http, Http),
    path: &str,
) -> Result<Infallible, Ended> {
    let mut receiving = pin!(receive(context, client, poller, path));
    let mut sending = pin!(send(context, client, poster, path));
    poll_fn(|task| match receiving.as_mut().poll(task) {
        Poll::Ready(ended) => Poll::Ready(ended),
        Poll::Pending => sending.as_mut().poll(task),
    })
    .await
}

async fn receive(
    context: &Rc<Context>,
    client: &Rc<Client>,
    mut http: Http,
    path: &str,
) -> Result<Infallible, Ended> {
    let protocol = context.shared.scenario.protocol;
    loop {
        let body = http.exchange(path, None).await?;
        {
            let mut local = context.local.borrow_mut();
            local.stats.counters.bytes_in += body.len() as u64;
            local.stats.counters.reads += 1;
            let mut turn = Turn::new(&context.shared, &mut local, now_ns());
            let mut session = client.session.borrow_mut();
            for packet in packets::split(protocol, &body)? {
                turn.local.stats.counters.frames_in += 1;
                session.text(&mut turn, packet)?;
            }
        }
        client.after_read(context);
    }
}

/// POSTs whatever is queued, one request at a time.
async fn send(
    context: &Rc<Context>,
    client: &Rc<Client>,
    mut http: Http,
    path: &str,
) -> Result<Infallible, Ended> {
    loop {
        let body = client.queued().await;
        let sent = body.len() as u64;
        http.exchange(path, Some(body)).await?;
        context.local.borrow_mut().stats.counters.bytes_out += sent;
    }
}
