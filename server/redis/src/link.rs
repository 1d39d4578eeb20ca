//! An open connection, for many calls at once.

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr};
use redis::{Cmd, ErrorKind, Pipeline, RedisResult, ServerErrorKind, Value};

use crate::call::Call;
use crate::failure::Failure;

/// Calls in one pipeline. More are sent after its answers, so that neither side buffers long ones.
const PIPELINE_MAX: usize = 1024;

/// An open connection to one server, or to a cluster.
pub enum Link {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// The answer to one call.
pub type Answer = Result<Value, Failure>;

impl Link {
    /// The answers to the calls, in their order. Calls on one key are executed in their order; in a
    /// cluster, calls on different keys may be executed in another order.
    ///
    /// # Errors
    /// The connection failed; which of the calls were executed is unknown.
    pub async fn run(&mut self, calls: &[Call]) -> Result<Vec<Answer>, Failure> {
        let mut answers = Vec::with_capacity(calls.len());
        for calls in calls.chunks(PIPELINE_MAX) {
            let results = match self {
                Link::One(connection) => {
                    let pipeline = pipeline(calls.iter());
                    let values = connection.send_packed_commands(&pipeline, 0, calls.len()).await?;
                    values.into_iter().map(Value::extract_error).collect()
                }
                Link::Cluster(connection) => by_slot(connection, calls).await?,
            };
            if results.len() != calls.len() {
                return Err(Failure::Unexpected);
            }
            for (call, result) in calls.iter().zip(results) {
                answers.push(self.answer(call, result).await);
            }
        }
        Ok(answers)
    }

    /// The answer, after sending the text of a script to a server that has not loaded it.
    async fn answer(&mut self, call: &Call, result: RedisResult<Value>) -> Answer {
        match (result, &call.fallback) {
            (Err(error), Some(fallback))
                if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) =>
            {
                Ok(self.send(fallback).await?)
            }
            (result, _) => Ok(result?),
        }
    }

    pub(crate) async fn send(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        match self {
            Link::One(connection) => cmd.query_async(connection).await,
            Link::Cluster(connection) => cmd.query_async(connection).await,
        }
    }
}

/// Sends one pipeline per slot, all at once: a pipeline is limited to one slot.
async fn by_slot(
    connection: &ClusterConnection,
    calls: &[Call],
) -> Result<Vec<RedisResult<Value>>, Failure> {
    let mut slots: Vec<(Route, Vec<usize>)> = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        let route = Route::with_key(&call.key, SlotAddr::Master);
        match slots.iter_mut().find(|(known, _)| *known == route) {
            Some((_, indices)) => indices.push(index),
            None => slots.push((route, vec![index])),
        }
    }
    let sent = slots.into_iter().map(|(route, indices)| {
        let mut connection = connection.clone();
        let pipeline = pipeline(indices.iter().map(|index| &calls[*index]));
        let route = SingleNodeRoutingInfo::SpecificNode(route);
        async move {
            let values = connection.route_pipeline(pipeline, 0, indices.len(), route).await?;
            Ok::<_, Failure>((indices, values))
        }
    });
    let mut results: Vec<RedisResult<Value>> = calls.iter().map(|_| Ok(Value::Nil)).collect();
    for done in join_all(sent).await {
        let (indices, values) = done?;
        if indices.len() != values.len() {
            return Err(Failure::Unexpected);
        }
        for (index, value) in indices.into_iter().zip(values) {
            results[index] = value.extract_error();
        }
    }
    Ok(results)
}

fn pipeline<'a>(calls: impl Iterator<Item = &'a Call>) -> Pipeline {
    let mut pipeline = Pipeline::new();
    for call in calls {
        pipeline.add_command(call.cmd.clone());
    }
    pipeline
}
