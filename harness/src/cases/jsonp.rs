//! Chapter 1: JSONP.

use throng_codec::payload;

use super::prelude::*;

cases! {
    jsonp "poll.jsonp" ["TRN-70", "TRN-74"] over POLLING needs NOTHING
        does "polls with j=N"
        expects "text/javascript with ___eio[N](\"…\"); around the payload";
    jsonp_line_separators "poll.jsonp-line-separators" ["TRN-71"] over POLLING needs CHAT
        does "receives U+2028 and U+2029 with j=0"
        expects "both characters are escaped in the string literal";
    jsonp_post "poll.jsonp-post" ["TRN-72"] over POLLING needs CHAT
        does "posts a form with the payload in d, containing line feeds and backslashes"
        expects "ok, and the text arrives with one line feed and one backslash";
    jsonp_index "poll.jsonp-index" ["TRN-73"] over POLLING needs NOTHING
        does "polls with a value of j that is not a number"
        expects "400, or an answer with digits only";
}

/// The payload inside a JSONP answer.
fn unwrap_jsonp(context: &Context, response: &Response, index: &str) -> Result<String, Stop> {
    status(response, 200)?;
    if context.judges("TRN-74") {
        header(response, "Content-Type", "text/javascript; charset=UTF-8")?;
    }
    let text = response.text();
    let literal =
        text.strip_prefix(&format!("___eio[{index}](")).and_then(|rest| rest.strip_suffix(");"));
    // A JSON string is a JavaScript string literal, U+2028 and U+2029 aside.
    match literal.and_then(|literal| serde_json::from_str::<String>(literal).ok()) {
        Some(payload) => Ok(payload),
        None => fail(format!("___eio[{index}](\"…\");"), text),
    }
}

fn jsonp(context: &Context) -> Outcome {
    for index in ["0", "7", "123"] {
        let path = format!("{}&j={index}", context.handshake_path());
        let response = context.get(&path)?;
        header(&response, "Cache-Control", "no-store")?;
        let text = unwrap_jsonp(context, &response, index)?;
        let packets = payload::decode_body_text(context.combo.protocol, &text)?;
        equal("the first packet", &kinds(&packets).first(), &Some(&Kind::Open))?;
    }
    Ok(())
}

fn jsonp_line_separators(context: &Context) -> Outcome {
    let (room, witness, _, poller) = polling_member(context)?;
    poller.poll()?;
    witness.say(room, "a\u{2028}b\u{2029}c")?;
    for _ in 0..5 {
        let response = context.get(&format!("{}&j=0", poller.path()))?;
        let text = unwrap_jsonp(context, &response, "0")?;
        if !text.contains("\u{2028}b\u{2029}") && !text.contains("\\u2028b\\u2029") {
            continue;
        }
        let raw = response.text();
        return require(
            !raw.contains('\u{2028}') && !raw.contains('\u{2029}'),
            "the separators escaped",
            || raw.clone(),
        );
    }
    fail("the message by JSONP", "it did not arrive")
}

fn jsonp_post(context: &Context) -> Outcome {
    let (room, witness, _, poller) = polling_member(context)?;
    // In JSON a line feed is backslash-n and a backslash is two of them.
    let event = format!("2[\"message\",{}]", message(room, "one\ntwo\\three"));
    let body = payload::encode_text(poller.protocol, &[Packet::message(event)]);
    // As engine.io-client encodes it for a form: backslash-n is doubled first.
    let escaped = body.replace("\\n", "\\\\n");
    let form = format!("d={}", percent_encode(&escaped));
    let path = format!("{}&j=0", poller.path());
    let headers = &[("Content-Type", "application/x-www-form-urlencoded")];
    let request = Request { method: "POST", path: &path, headers, body: form.as_bytes() };
    let response = context.fetch(&request)?;
    is_ok(&response)?;
    witness.message_with("one\ntwo\\three")?;
    Ok(())
}

fn jsonp_index(context: &Context) -> Outcome {
    for index in ["alert(1)", "0];x(", "%3Cscript%3E"] {
        let response = context.get(&format!("{}&j={index}", context.handshake_path()))?;
        if response.status == 400 {
            continue;
        }
        status(&response, 200)?;
        let text = response.text();
        let inside = text.strip_prefix("___eio[").and_then(|rest| rest.split(']').next());
        let digits = inside.is_some_and(|inside| inside.bytes().all(|b| b.is_ascii_digit()));
        // A server may also ignore such a j.
        require(digits || !text.contains("___eio"), "only digits in the brackets", || {
            text.clone()
        })?;
    }
    Ok(())
}
