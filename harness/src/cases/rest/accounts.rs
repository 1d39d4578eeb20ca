//! Chapter 9: registration and login.

use crate::cases::prelude::*;

cases! {
    register "rest.register" ["REST-15", "REST-18", "REST-24", "REST-12", "CHAT-8"] over NONE needs CHAT_OF_NEW_USERS
        does "registers a user"
        expects "errno 0 with exactly the fields of a user, and a token of 60 characters";
    register_faults "rest.register-faults" ["REST-16", "REST-2"] over NONE needs CHAT_OF_NEW_USERS
        does "registers with one error each"
        expects "errno 1 and the text of the error";
    register_taken "rest.register-taken" ["REST-17", "REST-23"] over NONE needs CHAT_OF_NEW_USERS
        does "registers the same e-mail twice, in other letter case, and eight times at once"
        expects "exactly one registration succeeds; the others report that the name is taken";
    register_src "rest.register-src" ["REST-25", "REST-16"] over NONE needs CHAT_OF_NEW_USERS
        does "registers with several kinds of src"
        expects "URLs and avatars of the server are accepted, others refused";
    plain_name "rest.plain-name" ["REST-18"] over NONE needs CHAT_OF_NEW_USERS
        does "registers an e-mail with an apostrophe"
        expects "a name with a typographic apostrophe";
    own_origin "rest.own-origin" ["REST-26", "TRN-65"] over NONE needs CHAT_OF_NEW_USERS
        does "registers and logs in from a foreign origin, and with bodies that browsers send to other sites"
        expects "403 and 415 without a cookie; the own origin and none are served";
    guesses "rest.guesses" ["REST-27", "LIM-86", "LIM-35"] over NONE needs CHAT_OF_NEW_USERS
        does "logs in with wrong passwords until that has to wait, and with others meanwhile"
        expects "429 with Retry-After for that name alone, until that time is over";
    login "rest.login" ["REST-19", "REST-21", "REST-24"] over NONE needs CHAT_OF_NEW_USERS
        does "logs in twice, in other letter case, and with wrong or missing values"
        expects "a new token each time, earlier tokens stay valid; the same text for a wrong e-mail and a wrong password";
}

fn register(context: &Context) -> Outcome {
    let rest = context.rest();
    let email = context.run.fresh_email();
    let body = json!({ "name": format!("  {email} "), "password": PASSWORD });
    let response = rest.post("/api/register", &body)?;
    status(&response, 200)?;
    let answer = response.json();
    has_exactly("the answer", &answer, &["errno", "user", "message"])?;
    has_fields(&answer, json!({ "errno": 0, "message": "Registered" }))?;
    let user = &answer["user"];
    let fields = ["id", "name", "email", "avatar", "api_token", "created_at", "updated_at"];
    has_exactly("user", user, &fields)?;
    has_fields(user, json!({ "email": email, "name": email.split('@').next() }))?;
    require(user["id"].is_u64(), "an integer id", || user.to_string())?;
    let src = "https://example.com/me.png";
    let body = json!({ "name": context.run.fresh_email(), "password": PASSWORD, "src": src });
    let with_src = rest.post("/api/register", &body)?.json();
    equal("the avatar", &with_src["user"]["avatar"], &json!(src))?;
    require(is_time(&user["created_at"]) && is_time(&user["updated_at"]), "times", || {
        user.to_string()
    })?;
    let token = user["api_token"].as_str().unwrap_or("");
    let plain = token.chars().all(|c| c.is_ascii_alphanumeric());
    require(token.len() == 60 && plain, "a token of 60 letters and digits", || token.to_owned())?;
    let avatar = user["avatar"].as_str().unwrap_or("");
    require(avatar.starts_with("/avatars/") && avatar.ends_with(".svg"), "/avatars/N.svg", || {
        avatar.to_owned()
    })?;
    let file = rest.get(avatar)?;
    status(&file, 200)?;
    context.step("a password with blanks, and a login without them");
    let email = context.run.fresh_email();
    let blanks = json!({ "name": email, "password": "  six  six " });
    has_fields(&rest.post("/api/register", &blanks)?.json(), json!({ "errno": 0 }))?;
    let trimmed = json!({ "name": email, "password": "six  six" });
    has_fields(&rest.post("/api/login", &trimmed)?.json(), json!({ "errno": 1 }))?;
    has_fields(&rest.post("/api/login", &blanks)?.json(), json!({ "errno": 0 }))?;
    has_type(&file, "image/svg+xml")
}

fn guesses(context: &Context) -> Outcome {
    const GUESSES: usize = 40;
    let (rest, user, other) = (context.rest(), context.user()?, context.user()?);
    let log_in = |email: &str, password: &str| {
        rest.post("/api/login", &json!({ "name": email, "password": password }))
    };
    let mut put_off = None;
    for _ in 0..GUESSES {
        let response = log_in(&user.email, "a wrong guess")?;
        if response.status == 429 {
            put_off = Some(response);
            break;
        }
        status(&response, 200)?;
        has_fields(&response.json(), json!({ "errno": 1 }))?;
    }
    let Some(put_off) = put_off else {
        return skip(format!("{GUESSES} wrong passwords are answered: the limit is lifted"));
    };
    equal("the body", &put_off.json(), &json!({ "message": "Too Many Attempts." }))?;
    let seconds = put_off.header("Retry-After").and_then(|value| value.parse::<u64>().ok());
    let Some(seconds) = seconds.filter(|seconds| *seconds > 0) else {
        return answers(false, &put_off, "Retry-After as a number");
    };
    let of_other = log_in(&other.email, PASSWORD)?;
    let is_client_limited = of_other.header("X-RateLimit-Remaining") == Some("0");
    if of_other.status == 429 && is_client_limited {
        return skip("the target's limit per client (LIM-24) is reached before");
    }
    has_fields(&of_other.json(), json!({ "errno": 0 }))?;
    status(&rest.get_as("/api/user", &user.token)?, 200)?;
    context.affordable(Duration::from_secs(seconds))?;
    context.pause(Duration::from_secs(seconds));
    has_fields(&log_in(&user.email, PASSWORD)?.json(), json!({ "errno": 0 }))
}

fn plain_name(context: &Context) -> Outcome {
    let email = format!("o'brien.{}", context.run.fresh_email());
    let body = json!({ "name": email, "password": PASSWORD });
    let answer = context.rest().post("/api/register", &body)?.json();
    let local = email.split('@').next().unwrap_or_default().replace('\'', "’");
    equal("name", &answer["user"]["name"], &json!(local))?;
    equal("email", &answer["user"]["email"], &json!(email))
}

fn own_origin(context: &Context) -> Outcome {
    let (rest, user) = (context.rest(), context.user()?);
    let json_text = json!({ "name": user.email, "password": PASSWORD }).to_string();
    let form = format!("name={}&password={PASSWORD}", user.email.replace('@', "%40"));
    let own = context.target().origin();
    let kind = "application/json";
    let requests: [(Headers<'_>, &str, u16); 6] = [
        (&[("Content-Type", kind), ("Origin", "http://evil.example")], &json_text, 403),
        (&[("Content-Type", kind), ("Origin", "null")], &json_text, 403),
        (&[("Content-Type", "text/plain;charset=UTF-8")], &json_text, 415),
        (&[("Content-Type", "application/x-www-form-urlencoded")], &form, 415),
        (&[("Content-Type", "application/json; charset=utf-8")], &json_text, 200),
        (&[("Content-Type", kind), ("Origin", &own)], &json_text, 200),
    ];
    for path in ["/api/login", "/api/register"] {
        for (headers, body, wanted) in requests {
            context.step(format!("{path} with {headers:?}"));
            let request = Request { method: "POST", path, headers, body: body.as_bytes() };
            let response = rest.call(&request)?;
            status(&response, wanted)?;
            let refusal = match wanted {
                403 => Some("Forbidden"),
                415 => Some("Unsupported Media Type"),
                _ => None,
            };
            if let Some(text) = refusal {
                equal("the body", &response.json(), &json!({ "message": text }))?;
            }
            let may_read = response.header("access-control-allow-origin").is_some();
            require(wanted != 403 || !may_read, "no Access-Control-Allow-Origin", || {
                response.named_headers()
            })?;
            let has_cookie = response.header("set-cookie").is_some();
            require(wanted == 200 || !has_cookie, "no cookie", || response.named_headers())?;
        }
    }
    Ok(())
}

fn register_faults(context: &Context) -> Outcome {
    let long = format!("{}@example.com", "x".repeat(100));
    let long_src = format!("http://example.com/{}", "x".repeat(300));
    let with = |field: &str, value: Value| {
        let mut body = credentials(&context.run.fresh_email());
        body[field] = value;
        body
    };
    let cases = [
        (json!({ "password": PASSWORD }), "The name field is required."),
        (with("name", json!("")), "The name field is required."),
        (with("name", json!("   ")), "The name field is required."),
        (json!({ "name": null, "password": "x" }), "The name field is required."),
        (with("name", json!("no-address")), "The name must be a valid email address."),
        (with("name", json!("a b@c.d")), "The name must be a valid email address."),
        (with("name", json!("@example.com")), "The name must be a valid email address."),
        (with("name", json!(long)), "The name may not be greater than 100 characters."),
        (json!({ "name": context.run.fresh_email() }), "The password field is required."),
        (with("password", json!("")), "The password field is required."),
        (with("password", json!(1_234_567)), "The password must be a string."),
        (with("password", json!("five5")), "The password must be at least 6 characters."),
        (with("src", json!("no url")), "The src is not a valid URL."),
        (with("src", json!(long_src)), "The src may not be greater than 255 characters."),
    ];
    for (body, message) in cases {
        let response = context.rest().post("/api/register", &body)?;
        status(&response, 200)?;
        let wanted = json!({ "errno": 1, "message": message });
        require(response.json() == wanted, &wanted.to_string(), || {
            format!("{} for {body}", response.text())
        })?;
    }
    Ok(())
}

fn register_taken(context: &Context) -> Outcome {
    let rest = context.rest();
    let user = context.user()?;
    let taken = json!({ "errno": 1, "message": "The name has already been taken." });
    for name in [user.email.clone(), user.email.to_uppercase()] {
        let response = rest.post("/api/register", &credentials(&name))?;
        equal("the answer", &response.json(), &taken)?;
    }
    context.step("eight at once");
    let body = json!({ "name": context.run.fresh_email(), "password": PASSWORD });
    let answers = together(&[&body; 8], |_, body| rest.post("/api/register", body));
    let answers: Vec<Value> = answers.into_iter().flatten().map(|answer| answer.json()).collect();
    let succeeded = answers.iter().filter(|answer| answer["errno"] == json!(0)).count();
    let refused = answers.iter().filter(|answer| **answer == taken).count();
    require(
        succeeded == 1 && refused == answers.len() - 1,
        "one success, the others refused as taken",
        || shown(&answers),
    )
}

fn register_src(context: &Context) -> Outcome {
    let rest = context.rest();
    let register = |src: &str| {
        let body = json!({ "name": context.run.fresh_email(), "password": PASSWORD, "src": src });
        rest.post("/api/register", &body).map(|response| response.json())
    };
    let hosts = "http://no-such-host.invalid/a.png";
    for src in [hosts, "https://example.com/x.png", "//example.com/me.png", "/avatars/3.svg"] {
        let answer = register(src)?;
        require(answer["errno"] == json!(0), &format!("{src} is accepted"), || answer.to_string())?;
    }
    let answer = register(hosts)?;
    has_fields(&answer["user"], json!({ "avatar": hosts }))?;
    let wrong = ["javascript:alert(1)", "data:image/png;base64,AA", "ftp://example.com/x", "x y"];
    let no_avatars =
        ["/avatars/%2e%2e/x.svg", "/avatars/../x.svg", "/avatars/3.svg?x", "/etc/x.svg"];
    for src in wrong.into_iter().chain(no_avatars) {
        let answer = register(src)?;
        has_fields(&answer, json!({ "message": "The src is not a valid URL." }))?;
    }
    Ok(())
}

fn login(context: &Context) -> Outcome {
    let rest = context.rest();
    let user = context.user()?;
    let body = credentials(&user.email);
    let response = rest.post("/api/login", &body)?;
    status(&response, 200)?;
    let answer = response.json();
    has_exactly("the answer", &answer, &["errno", "user", "message"])?;
    has_fields(&answer, json!({ "message": "Logged in" }))?;
    let fields = [
        "id",
        "name",
        "email",
        "email_verified_at",
        "avatar",
        "api_token",
        "created_at",
        "updated_at",
    ];
    has_exactly("user", &answer["user"], &fields)?;
    has_fields(&answer["user"], json!({ "id": user.id }))?;
    let verified = &answer["user"]["email_verified_at"];
    require(verified.is_null() || is_time(verified), "a time or null", || verified.to_string())?;
    let second = answer["user"]["api_token"].as_str().unwrap_or("").to_owned();
    require(second != user.token, "a new token", || second.clone())?;
    equal("the first token", &rest.get_as("/api/user", &user.token)?.status, &200)?;
    equal("the second token", &rest.get_as("/api/user", &second)?.status, &200)?;
    let upper = json!({ "name": user.email.to_uppercase(), "password": PASSWORD });
    equal(
        "errno for an upper-case e-mail",
        &rest.post("/api/login", &upper)?.json()["errno"],
        &json!(0),
    )?;
    let wrong = json!({ "errno": 1, "message": "The e-mail or password is wrong." });
    for body in [
        json!({ "name": user.email, "password": "something else" }),
        json!({ "name": "unknown@example.com", "password": PASSWORD }),
        json!({ "name": user.email, "password": format!("{PASSWORD} ") }),
    ] {
        equal("the answer", &rest.post("/api/login", &body)?.json(), &wrong)?;
    }
    let missing = rest.post("/api/login", &json!({ "password": PASSWORD }))?.json();
    has_fields(&missing, json!({ "message": "The name field is required." }))?;
    let missing = rest.post("/api/login", &json!({ "name": user.email }))?.json();
    has_fields(&missing, json!({ "message": "The password field is required." }))
}

fn is_time(value: &Value) -> bool {
    let text = value.as_str().unwrap_or("");
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { 'd' } else { c }).collect();
    shape.starts_with("dddd-dd-dd dd:dd:dd") || shape.starts_with("dddd-dd-ddTdd:dd:dd")
}
