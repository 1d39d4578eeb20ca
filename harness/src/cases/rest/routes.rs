//! Chapter 9: routes, bodies, operation.

use crate::cases::prelude::*;

cases! {
    json_everywhere "rest.json" ["REST-1", "REST-2"] over NONE needs CHAT_OF_NEW_USERS
        does "sends valid and invalid requests to several routes"
        expects "JSON objects with application/json; application errors with status 200";
    unknown_route "rest.unknown-route" ["REST-6", "REST-7"] over NONE needs CHAT
        does "calls unknown paths and wrong methods"
        expects "404 and Not Found, 405";
    throttle "rest.throttle" ["REST-8", "REST-9", "LIM-24", "LIM-35"] over NONE needs CHAT
        does "follows the headers of the rate limit until it is exceeded"
        expects "429 beyond the limit, with Retry-After";
    bad_body "rest.bad-body" ["REST-10"] over NONE needs CHAT_OF_NEW_USERS
        does "posts bodies that are not JSON objects"
        expects "400, or the answer to an empty object";
    robot "rest.robot" ["REST-60", "REST-61"] over NONE needs CHAT
        does "calls the robot"
        expects "data with a JSON text of code and text";
    operation "rest.operation" ["REST-70", "REST-71", "REST-72", "REST-74"] over NONE needs CHAT
        does "requests /health, /ready, /metrics and /"
        expects "the documented answers";
    no_static "rest.no-static-below-api" ["REST-73", "REST-6"] over NONE needs CHAT
        does "requests files below /api and the engine paths"
        expects "no HTML page";
}

fn is_json_object(response: &Response) -> Outcome {
    let fits = response.has_type("application/json") && response.json().is_object();
    answers(fits, response, "a JSON object with application/json")
}

fn json_everywhere(context: &Context) -> Outcome {
    let (rest, user) = (context.rest(), context.user()?);
    for path in ["/api/user", "/api/rooms", "/api/history/message?roomid=1&current=1&total=0"] {
        let response = rest.get_as(path, &user.token)?;
        status(&response, 200)?;
        is_json_object(&response)?;
    }
    for (path, body) in [
        ("/api/register", json!({})),
        ("/api/login", json!({ "name": user.email, "password": "wrong one" })),
    ] {
        let response = rest.post(path, &body)?;
        status(&response, 200)?;
        is_json_object(&response)?;
        has_fields(&response.json(), json!({ "errno": 1 }))?;
    }
    is_json_object(&rest.get("/api/user")?)?;
    is_json_object(&rest.get("/api/nothing")?)
}

fn unknown_route(context: &Context) -> Outcome {
    let rest = context.rest();
    let user = context.user()?;
    for path in ["/api/nothing", "/api/user/1", "/api/history", "/api/file"] {
        let response = rest.get_as(path, &user.token)?;
        status(&response, 404)?;
        equal("the body", &response.json(), &json!({ "message": "Not Found" }))?;
    }
    status(&rest.get("/api/register")?, 405)?;
    status(&rest.get("/api/login")?, 405)?;
    status(&rest.post("/api/user", &json!({ "api_token": user.token }))?, 405)?;
    let request = Request { method: "DELETE", ..Request::get("/api/rooms") };
    status(&rest.call(&request)?, 405)
}

fn throttle(context: &Context) -> Outcome {
    let rest = context.rest();
    let first = rest.call_at_once(&Request::get("/api/user"))?;
    if first.header("x-ratelimit-remaining").is_some() {
        let is_named = first.header("x-ratelimit-limit").is_some();
        answers(is_named, &first, "X-RateLimit-Limit")?;
    }
    let Some(limit) = first.header("x-ratelimit-limit").and_then(|v| v.parse::<u32>().ok()) else {
        return skip("the target's answers have no X-RateLimit-Limit: the throttle is off");
    };
    let counts_down = first.header("x-ratelimit-remaining").is_some();
    answers(counts_down, &first, "X-RateLimit-Remaining")?;
    for _ in 0..limit + 5 {
        let response = rest.call_at_once(&Request::get("/api/user"))?;
        if response.status == 429 {
            equal("the body", &response.json(), &json!({ "message": "Too Many Attempts." }))?;
            for name in ["X-RateLimit-Limit", "X-RateLimit-Remaining", "Retry-After"] {
                let value = response.header(name).unwrap_or("");
                let is_number = value.parse::<u32>().is_ok();
                answers(is_number, &response, &format!("{name} as a number"))?;
            }
            return Ok(());
        }
    }
    fail(format!("429 beyond {limit} requests"), "all were served")
}

fn bad_body(context: &Context) -> Outcome {
    let rest = context.rest();
    for body in [b"{".as_slice(), b"[]", b"\"x\"", b"null", b"", b"\xff\xfe", b"name=x"] {
        let headers = &[("Content-Type", "application/json")];
        let request = Request { method: "POST", path: "/api/login", headers, body };
        let response = rest.call(&request)?;
        let answer = response.json();
        let as_empty = response.status == 200
            && answer["errno"] == json!(1)
            && answer["message"] == json!("The name field is required.");
        answers(response.status == 400 || as_empty, &response, "400, or the answer to {}")?;
    }
    Ok(())
}

fn robot(context: &Context) -> Outcome {
    let user = context.user()?;
    let response = context.rest().get_as("/api/robot?info=hello&id=1", &user.token)?;
    status(&response, 200)?;
    let answer = response.json();
    has_exactly("the answer", &answer, &["data"])?;
    let text = answer["data"].as_str().unwrap_or("");
    let inner: Value = serde_json::from_str(text).unwrap_or(Value::Null);
    let fits = inner["code"].is_u64() && inner["text"].is_string();
    require(fits, "JSON text with code and text", || answer.to_string())?;
    require(inner["text"] != json!(""), "a text that says something", || text.to_owned())
}

fn operation(context: &Context) -> Outcome {
    let health = context.get("/health")?;
    status(&health, 200)?;
    equal("/health", &health.json(), &json!({ "status": "ok" }))?;
    let ready = context.get("/ready")?;
    answers(matches!(ready.status, 200 | 503), &ready, "200 or 503")?;
    let mut members = vec!["ready", "checks"];
    if ready.json().get("for_s").is_some() {
        members.push("for_s");
    }
    has_exactly("/ready", &ready.json(), &members)?;
    has_fields(&ready.json(), json!({ "ready": ready.status == 200 }))?;
    let metrics = context.get("/metrics")?;
    status(&metrics, 200)?;
    let is_text =
        metrics.has_type("text/plain") || metrics.has_type("application/openmetrics-text");
    answers(is_text, &metrics, "text")?;
    let text = metrics.text();
    let sound = text.lines().all(|line| {
        line.is_empty()
            || line.starts_with('#')
            || line.rsplit(' ').next().is_some_and(|value| value.parse::<f64>().is_ok())
    });
    require(sound && text.contains("# TYPE"), "the Prometheus text format", || text.clone())?;
    let page = context.get("/")?;
    status(&page, 200)?;
    header(&page, "Content-Type", "text/html; charset=UTF-8")
}

fn no_static(context: &Context) -> Outcome {
    for folder in ["/api", "/storage", "/socket.io", "/ws"] {
        let response = context.get(&format!("{folder}/index.html"))?;
        is_no_page(&response)?;
    }
    is_no_page(&context.get("/api")?)
}

fn is_no_page(response: &Response) -> Outcome {
    let is_page = response.status == 200 && response.has_type("text/html");
    answers(!is_page, response, "no HTML page")
}
