use std::io::Write;

use throng_tables::settings::Kind;

use super::table::RoomEntry;
use super::*;

fn load_toml(text: &str, flags: Flags) -> Result<(Config, Vec<Shown>), Faults> {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("it can be written");
    load(Some(file.path()), flags)
}

fn faults(text: &str) -> Vec<ConfigFault> {
    load_toml(text, Flags::default()).expect_err("it is not valid").0
}

#[test]
fn without_anything_the_defaults_hold() {
    let (config, shown) = load(None, Flags::default()).expect("the defaults are valid");
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8090");
    assert_eq!(config.server.list, [RoomEntry::new(1, "Lobby"), RoomEntry::new(2, "Lounge")]);
    let defaults = Settings::default();
    assert_eq!(config.chat, defaults);
    assert!(shown.iter().all(|shown| shown.origin == "default"));
}

#[test]
fn flags_win_over_the_file() {
    let mut flags = Flags::default();
    flags.set("shards", 3_u32);
    let toml = "shards = 2\nping_interval_ms = 1000\n[http]\nengine_paths = [\"/x/\"]\n";
    let (config, shown) = load_toml(toml, flags).expect("it is valid");
    assert_eq!((config.server.shards, config.chat.engine.ping_interval_ms), (3, 1000));
    assert_eq!(config.policy.endpoint("/x"), Some(Endpoint::SocketIo));
    assert_eq!(config.policy.endpoint("/socket.io"), None);
    let origin =
        |key: &str| &shown.iter().find(|shown| shown.key == key).expect("it is shown").origin;
    assert_eq!(origin("shards"), "command line");
    assert!(origin("ping_interval_ms").starts_with('/'), "{}", origin("ping_interval_ms"));
    assert_eq!(origin("max_payload"), "default");
}

#[test]
fn all_faults_come_together_with_key_and_range() {
    let faults = faults(
        "listen = \"nowhere\"\nping_interval_ms = 7\nephemeral = \"yes\"\n\
         [limits]\npublish_per_s = -1\n[rooms]\nlist = [{ id = 0, name = \"x\" }]\n",
    );
    assert_eq!(faults.len(), 5, "{faults:#?}");
    let all = faults.join("\n");
    for part in ["listen", "ping_interval_ms", "50 to 3600000", "found 7", "ephemeral", "found -1"]
    {
        assert!(all.contains(part), "{part} in\n{all}");
    }
}

#[test]
fn an_unknown_key_is_a_fault_with_a_suggestion() {
    let faults = faults("ping_intervall_ms = 1000\n[presence]\ngrace = 1\n[nonsense]\nx = 1\n");
    assert_eq!(faults.len(), 3, "{faults:#?}");
    assert!(faults.iter().any(|fault| fault.contains("did you mean `ping_interval_ms`")));
    assert!(faults.iter().any(|fault| fault.contains("did you mean `presence.grace_ms`")));
    assert!(faults.iter().any(|fault| fault.starts_with("nonsense.x")));
}

fn from_environment(variables: &[(&str, &str)]) -> (environment::Environment, Figment) {
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    let environment = environment::Environment::read(variables, &defaults());
    let figment = Figment::from(&environment);
    (environment, figment)
}

#[test]
fn the_variables_of_a_service_of_kubernetes_are_warnings() {
    let (environment, figment) = from_environment(&[
        ("THRONG_PORT", "tcp://10.96.0.7:8090"),
        ("THRONG_PORT_8090_TCP_ADDR", "10.96.0.7"),
        ("THRONG_SERVICE_HOST", "10.96.0.7"),
        ("THRONG_HTTP", "10.96.0.8"),
        ("THRONG_SHARD", "3"),
        ("THRONG_CONFIG", "/etc/throng.toml"),
        ("KUBERNETES_PORT", "tcp://10.96.0.1:443"),
        ("THRONG_HTTP__API_PER_MINUTE", "7"),
    ]);
    let warned: Vec<&str> = environment.warnings.iter().map(String::as_str).collect();
    assert_eq!(
        warned,
        [
            "THRONG_HTTP: unknown setting, ignored",
            "THRONG_PORT: unknown setting, ignored",
            "THRONG_PORT_8090_TCP_ADDR: unknown setting, ignored",
            "THRONG_SERVICE_HOST: unknown setting, ignored",
            "THRONG_SHARD: unknown setting, ignored; did you mean THRONG_SHARDS?",
        ]
    );
    let mut reader = Reader::new(figment);
    let config = read(&mut reader);
    reader.check_unknown();
    assert_eq!((config.rest.api_per_minute, reader.faults), (7, Vec::new()));
}

#[test]
fn a_list_in_the_environment_may_have_commas() {
    for text in ["10.0.0.0/8, unix", "[\"10.0.0.0/8\", \"unix\"]"] {
        let (_, figment) = from_environment(&[("THRONG_HTTP__TRUSTED_PROXIES", text)]);
        let mut reader = Reader::new(figment);
        let config = read(&mut reader);
        assert_eq!(reader.faults, Vec::<ConfigFault>::new(), "{text}");
        let shown: Vec<_> = config.server.trusted_proxies.iter().map(|p| p.0.to_string()).collect();
        assert_eq!(shown, ["10.0.0.0/8", "unix"], "{text}");
    }
    let (_, figment) = from_environment(&[
        ("THRONG_HTTP__TRUSTED_PROXIES", "10.0.0.0/8,proxy.example"),
        ("THRONG_REDIS__NODE_NAME", "1"),
    ]);
    let mut reader = Reader::new(figment);
    read(&mut reader);
    assert!(reader.faults[0].starts_with("http.trusted_proxies (THRONG_HTTP__TRUSTED_PROXIES):"));
    assert_eq!(reader.faults.len(), 1, "a name may be a number: {:?}", reader.faults);
}

#[test]
fn headers_of_the_proxy_protocol_come_from_proxies_that_are_named() {
    let wrong = faults("[http]\nproxy_protocol = true\n");
    assert!(wrong.len() == 1 && wrong[0].contains("trusted_proxies"), "{wrong:?}");
    let right = "[http]\nproxy_protocol = true\ntrusted_proxies = [\"10.0.0.0/8\"]\n";
    assert!(load_toml(right, Flags::default()).is_ok());
}

#[test]
fn a_file_that_is_no_toml_is_one_fault() {
    assert_eq!(faults("listen = = 1").len(), 1);
}

#[test]
fn what_is_no_file_of_settings_is_one_fault() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = dir.path().join("missing.toml");
    let socket = dir.path().join("socket.toml");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("it is free");
    for (path, why) in [
        (dir.path(), "a directory, not a file"),
        (missing.as_path(), "no such file"),
        (socket.as_path(), "not a regular file"),
    ] {
        let Faults(faults) = load(Some(path), Flags::default()).expect_err("it is no file");
        assert_eq!(faults, [format!("{}: {why}", path.display())]);
    }
}

#[test]
fn a_database_is_one_we_know_and_its_password_is_never_shown() {
    for url in [
        "sqlite://data/throng.db",
        "postgres://ann:secret@db.example/throng",
        "postgresql://db.example/throng?user=ann&password=secret",
        "mysql://ann:secret@db.example/throng",
        "mariadb://ann:secret@db.example/throng",
    ] {
        let (config, shown) =
            load_toml(&format!("database = \"{url}\""), Flags::default()).expect("it is valid");
        assert_eq!(config.database_url(), url);
        let shown = shown.iter().find(|shown| shown.key == "database").expect("it is shown");
        assert!(!shown.value.contains("secret"), "{}", shown.value);
        assert!(shown.value.contains(url.split(':').next().expect("scheme")), "{}", shown.value);
    }
    for url in ["mongodb://ann:secret@db.example/throng", "secret", "postgres:secret"] {
        let faults = faults(&format!("database = \"{url}\""));
        assert_eq!(faults.len(), 1, "{url}");
        assert!(faults[0].contains("postgres://USER:PASSWORD@HOST/NAME"), "{}", faults[0]);
        assert!(!faults[0].contains("secret"), "{}", faults[0]);
    }
}

#[test]
fn rooms_have_distinct_ids() {
    let twins = "[[rooms.list]]\nid = 4\nname = \"a\"\n[[rooms.list]]\nid = 4\nname = \"b\"\n";
    assert!(faults(twins)[0].contains("same id"));
    let (config, _) = load_toml("rooms.list = [{ id = 9, name = \"Nine\" }]", Flags::default())
        .expect("it is valid");
    assert_eq!(config.server.list, [RoomEntry::new(9, "Nine")]);
}

#[test]
fn an_unknown_key_of_a_room_is_a_fault() {
    let faults = faults("[rooms]\nlist = [{ id = 9, name = \"Nine\", topic = \"x\" }]\n");
    assert!(faults.len() == 1 && faults[0].starts_with("rooms.list"), "{faults:?}");
    assert!(faults[0].ends_with(": unknown key `topic`"), "{faults:?}");
}

#[test]
fn unlimited_lifts_rates_on_loopback_only() {
    let (config, _) = load_toml("unlimited = true", Flags::default()).expect("loopback is fine");
    assert_eq!((config.chat.publish_per_s, config.chat.join_per_s), (0, 0));
    assert_eq!(config.chat.invalid_tokens_per_s, 0);
    assert_eq!((config.server.connections_per_ip_max, config.rest.api_per_minute), (0, 0));
    let public = faults("unlimited = true\nlisten = \"0.0.0.0:80\"\n");
    assert!(public[0].contains("loopback"));
}

#[test]
fn one_payload_fits_the_outbound_queue() {
    assert!(faults("max_payload = 16777216")[0].contains("outbound_bytes_max"));
}

#[test]
fn origins_are_compared_as_browsers_send_them() {
    for (written, sent) in [
        ("null", "null"),
        ("https://chat.example:8443", "https://chat.example:8443"),
        ("HTTPS://Chat.Example", "https://chat.example"),
        ("https://chat.example:443", "https://chat.example"),
        ("http://chat.example:0080", "http://chat.example"),
        ("http://chat.example:443", "http://chat.example:443"),
        ("https://chat.example:80", "https://chat.example:80"),
        ("http://my_host:65535", "http://my_host:65535"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("http://[0:0::0:1]:80", "http://[::1]"),
        ("Capacitor://localhost", "capacitor://localhost"),
        ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
        ("http://[2001:DB8::1]:81", "http://[2001:db8::1]:81"),
        ("http://[::ffff:192.0.2.1]", "http://[::ffff:c000:201]"),
    ] {
        let toml = format!("[http]\nallowed_origins = [\"{written}\"]\n");
        let (config, shown) = load_toml(&toml, Flags::default()).expect("it is valid");
        assert_eq!(config.policy.allowed_origins, [sent], "{written}");
        assert_eq!(config.rest.allowed_origins, [sent], "{written}");
        assert!(config.policy.is_origin_allowed(Some(sent), None), "{written}");
        let shown = shown.iter().find(|shown| shown.key == "http.allowed_origins");
        assert_eq!(shown.expect("it is shown").value, format!("[{sent}]"));
    }
}

#[test]
fn an_origin_that_no_browser_sends_is_a_fault_that_says_why() {
    for (wrong, why) in [
        ("*", "begins with http:// or https://"),
        ("chat.example", "begins with http:// or https://"),
        ("NULL", "begins with http:// or https://"),
        ("ftp://chat.example", "begins with http:// or https://"),
        ("wss://chat.example", "begins with http:// or https://"),
        (" https://chat.example", "begins with http:// or https://"),
        ("https://ann@chat.example", "no user name"),
        ("https://chat.example/", "no path"),
        ("https://chat.example/chat", "no path"),
        ("https://chat.example\\chat", "no path"),
        ("https://chat.example?a=b", "no query"),
        ("https://chat.example#a", "no fragment"),
        ("https://", "a host has letters"),
        ("https://:443", "a host has letters"),
        ("https://*.example", "no wildcards"),
        ("https://chat example", "a host has letters"),
        ("https://bücher.example", "Punycode, xn--"),
        ("https://127.1", "as browsers write it"),
        ("https://0x7f.1", "as browsers write it"),
        ("https://1.2.3.256", "as browsers write it"),
        ("https://a.0x7f", "as browsers write it"),
        ("https://1.2.3.4.", "as browsers write it"),
        ("https://[::1", "as browsers write it"),
        ("https://[::1%25eth0]", "as browsers write it"),
        ("https://chat.example:", "a port is a number"),
        ("https://chat.example:0", "a port is a number"),
        ("https://chat.example:+80", "a port is a number"),
        ("https://chat.example:65536", "from 1 to 65535"),
        ("https://::1", "a host has letters"),
    ] {
        let faults = faults(&format!("[http]\nallowed_origins = ['{wrong}']\n"));
        assert_eq!(faults.len(), 1, "{wrong}: {faults:?}");
        assert!(faults[0].starts_with("http.allowed_origins"), "{wrong}: {faults:?}");
        assert!(faults[0].contains(why), "{wrong}: {faults:?}");
    }
    let faults = faults("[http]\nallowed_origins = [\"https://ann:s3cret@chat.example\"]\n");
    assert!(!faults[0].contains("s3cret"), "{faults:?}");
}

#[test]
fn one_request_timeout_holds_for_the_engine_and_the_api() {
    let toml = "[http]\nrequest_timeout_ms = 700\nupload_timeout_ms = 900\n";
    let (config, _) = load_toml(toml, Flags::default()).expect("it is valid");
    assert_eq!((config.server.request_timeout_ms, config.rest.request_timeout_ms), (700, 700));
    assert_eq!(config.rest.upload_timeout_ms, 900);
}

#[test]
fn one_least_rate_holds_for_the_engine_and_the_api() {
    let toml = "[limits]\nmessage_timeout_ms = 700\nbytes_per_s_min = 900\n";
    let (config, _) = load_toml(toml, Flags::default()).expect("it is valid");
    let (engine, rest) = (config.chat.engine, config.rest);
    assert_eq!((engine.message_timeout_ms, rest.body_timeout_ms), (700, 700));
    assert_eq!((engine.bytes_per_s_min, rest.body_bytes_per_s_min), (900, 900));
}

#[test]
fn an_upload_fits_what_a_user_and_a_stranger_may_have_under_way() {
    for (toml, wrong) in [
        ("upload_bytes_max = 8388608", None),
        ("upload_bytes_max = 16777217", Some("uploads_mib_anonymous_max")),
        ("uploads_mib_per_user_max = 4", Some("uploads_mib_per_user_max")),
        ("uploads_mib_max = 32", None),
        ("uploads_mib_max = 31", Some("uploads_mib_max")),
    ] {
        let toml = format!("[http]\n{toml}\n");
        match wrong {
            None => assert!(load_toml(&toml, Flags::default()).is_ok(), "{toml}"),
            Some(wrong) => {
                let faults = faults(&toml);
                assert!(faults.len() == 1 && faults[0].contains(wrong), "{toml}: {faults:?}");
            }
        }
    }
}

#[test]
fn a_redis_url_chooses_the_driver_and_its_password_is_not_shown() {
    let (config, _) = load(None, Flags::default()).expect("the defaults are valid");
    assert!(config.backplane.is_none() && !config.chat.cluster);
    let mut flags = Flags::default();
    flags.set("redis.url", "redis://u:s3cret@r.example/2");
    let (config, shown) = load_toml("[redis]\nlease_ms = 5000\n", flags).expect("it is valid");
    let backplane = config.backplane.expect("the driver is redis");
    assert!(config.chat.cluster);
    assert_eq!((backplane.redis.url.database, backplane.cluster.lease_ms), (2, 5000));
    let url = shown.iter().find(|shown| shown.key == "redis.url").expect("it is shown");
    assert_eq!(url.value, "redis://u:…@r.example:6379/2");

    let table = "[rooms]\ndriver = \"table\"\n[redis]\nurl = \"redis://r\"\n";
    let (config, _) = load_toml(table, Flags::default()).expect("it is valid");
    assert!(config.backplane.is_none(), "the driver that is named wins");
    let driver = "[rooms]\ndriver = \"redis\"\n";
    let (config, _) = load_toml(driver, Flags::default()).expect("it is valid");
    let address = config.backplane.expect("the driver is redis").redis.url;
    assert_eq!(address.to_string(), "redis://127.0.0.1:6379");
}

#[test]
fn a_database_server_numbers_the_messages_and_has_its_limits() {
    let (config, _) =
        load_toml("database = \"sqlite:x.db\"\n", Flags::default()).expect("it is valid");
    assert!(!config.chat.store_numbers, "a file has one writer");
    let toml = "database = \"postgres://db/throng\"\n[store]\nreaders = 9\nwriters = 3\n\
                answer_timeout_ms = 700\nbusy_timeout_ms = 300\n";
    let (config, _) = load_toml(toml, Flags::default()).expect("it is valid");
    assert!(config.chat.store_numbers && !config.chat.cluster);
    let store = config.store;
    assert_eq!((store.readers, store.writers), (9, 3));
    let limits = (store.answer_timeout_ms, store.busy_timeout_ms);
    assert_eq!(limits, (700, 300));
}

#[test]
fn a_wrong_redis_setting_is_said_without_the_password() {
    let wrong = faults("[redis]\nurl = \"redis://:s3cret@a,b\"\n");
    assert!(wrong[0].contains("redis+sentinel") && !wrong[0].contains("s3cret"), "{wrong:?}");
    for (toml, part) in [
        ("room_name = \"room\"", "{id}"),
        ("lease_ms = 1500", "command_timeout_ms"),
        ("tls_ca = \"/nowhere.pem\"", "PEM"),
    ] {
        let wrong = faults(&format!("[redis]\n{toml}\n"));
        assert!(wrong.len() == 1 && wrong[0].contains(part), "{toml}: {wrong:?}");
    }
}

#[test]
fn a_default_is_a_value_that_may_be_written() {
    for shown in defaults() {
        let key = &shown.key;
        assert!(!shown.setting.description.trim().is_empty(), "{key} has no description");
        if shown.setting.default.is_some() || shown.value == "none" {
            continue;
        }
        let value = match shown.setting.kind {
            Kind::Number | Kind::Switch => shown.value.clone(),
            Kind::Text => format!("\"{}\"", shown.value),
            Kind::List => continue,
        };
        let toml = match shown.setting.section {
            "" => format!("{} = {value}\n", shown.setting.name),
            section => format!("[{section}]\n{} = {value}\n", shown.setting.name),
        };
        let (_, written) = load_toml(&toml, Flags::default()).expect("the default is valid");
        let written = written.iter().find(|written| written.key == *key).expect("it is shown");
        assert_eq!(written.value, shown.value, "{key}");
        assert!(written.origin.starts_with('/'), "{key}: {}", written.origin);
    }
}

#[test]
fn a_setting_has_one_name() {
    let all = defaults();
    for (index, shown) in all.iter().enumerate() {
        let setting = shown.setting;
        assert_eq!(shown.key.replace('.', "_").replace('_', "-"), setting.flag());
        let name = shown.key.to_uppercase().replace('.', "__");
        assert_eq!(setting.environment(), format!("THRONG_{name}"));
        let twin = all[..index].iter().find(|other| other.setting.flag() == setting.flag());
        assert!(twin.is_none(), "{} is declared twice", shown.key);
    }
}

#[test]
fn the_pages_are_those_of_the_tables() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for (name, page) in
        [("settings.md", docs::markdown()), ("metrics.md", crate::metrics::markdown())]
    {
        let kept = std::fs::read_to_string(docs.join(name)).unwrap_or_default();
        assert!(kept == page, "server/docs/{name} is stale: run `{}`", docs::REGENERATE);
    }
}

#[test]
fn a_file_that_is_no_toml_is_a_fault_with_its_place_and_without_its_text() {
    for (text, place) in [
        ("[redis]\nurl = \"redis://u:SECRET@h:1\" x\n", "line 2, column 30"),
        ("[redis]\nurl = 'redis://u:SECRET@h:1\n", "line 2, column "),
        ("# €\ndatabase = postgres://u:SECRET@h/x\n", "line 2, column "),
        ("[http]\nrobot_url = \"a\"\nrobot_url = \"http://u:SECRET@h\"\n", "line 3, column "),
    ] {
        let faults = faults(text);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains(place), "{place} in {faults:?}");
        assert!(!faults[0].contains("SECRET") && !faults[0].contains('\n'), "{faults:?}");
    }
}

#[test]
fn the_url_of_the_robot_is_shown_without_its_secrets() {
    let toml = "[http]\nrobot_url = \"https://u:SECRET@bot.example/ask?key=SECRET&q={info}\"\n";
    let (config, shown) = load_toml(toml, Flags::default()).expect("it is valid");
    let text = docs::explain(&shown);
    assert!(!text.contains("SECRET"), "{text}");
    assert!(text.contains("https://…@bot.example/ask"), "{text}");
    assert!(!format!("{:?}", config.rest).contains("SECRET"), "nor in its debug form");
    for wrong in ["bot.example?key=SECRET", "ftp://u:SECRET@h/x", "https://?SECRET={info}", ""] {
        let faults = faults(&format!("[http]\nrobot_url = \"{wrong}\"\n"));
        assert!(faults.len() == 1 && faults[0].contains("a URL of http or https"), "{faults:?}");
        assert!(!faults[0].contains("SECRET"), "{faults:?}");
    }
}

#[test]
fn a_filter_of_the_log_has_levels() {
    for (right, kept) in [
        ("info", "info"),
        ("off", "off"),
        ("WARN", "WARN"),
        ("throng=debug", "throng=debug"),
        ("warn,throng_chat::edge=trace,throng=off", "warn,throng_chat::edge=trace,throng=off"),
        (" info , throng=debug ", "info,throng=debug"),
    ] {
        let toml = format!("log_filter = \"{right}\"\n");
        let (config, _) = load_toml(&toml, Flags::default()).expect("it is valid");
        assert_eq!(config.server.log_filter.0, kept, "{right}");
    }
    for (wrong, why) in [
        ("verbose", "\"verbose\" is no level (trace, debug, info, warn, error, off)"),
        ("warning", "\"warning\" is no level"),
        ("info,throng", "\"throng\" is no level"),
        ("info, throng=debgu", "\"debgu\" is no level (trace, debug, info, warn, error, off)"),
        ("throng=", "\"\" is no level"),
        ("", "\"\" is no level"),
        ("=info", "\"\" is no module"),
        ("throng-chat=info", "\"throng-chat\" is no module"),
        ("throng =info", "\"throng \" is no module"),
        ("info,", "nothing before or after a comma"),
        ("info, ,off", "nothing before or after a comma"),
    ] {
        let faults = faults(&format!("log_filter = \"{wrong}\"\n"));
        assert!(faults.len() == 1 && faults[0].contains("MODULE=LEVEL"), "{wrong}: {faults:?}");
        assert!(faults[0].contains(why), "{wrong}: {faults:?}");
    }
}

#[test]
fn a_filter_that_names_no_module_of_the_server_silences_it() {
    let silence = |filter: &str| {
        let toml = format!("log_filter = \"{filter}\"\n");
        let (config, _) = load_toml(&toml, Flags::default()).expect("it is valid");
        config.server.log_filter.silence()
    };
    for silent in
        ["throngg=debug", "foo=debug", "sqlx=info,throngs::edge=trace", "throng_chats=info"]
    {
        let sentence = silence(silent).expect("it is silent");
        assert!(sentence.contains(&format!("\"{silent}\"")), "{sentence}");
    }
    for filter in [
        "info",
        "off",
        "throng=debug",
        "thr=debug",
        "foo=debug,warn",
        "foo=debug, throng_chat::edge=trace",
        "throng_redis=warn",
        "throng::serve=info",
    ] {
        assert_eq!(silence(filter), None, "{filter}");
    }
}

#[test]
fn the_crates_that_a_filter_may_name_are_those_of_the_server() {
    let manifest = include_str!("../../Cargo.toml");
    let (shipped, _) = manifest.split_once("[dev-dependencies]").expect("tests have their own");
    let used = shipped.lines().filter_map(|line| line.strip_suffix(".workspace = true"));
    let mut crates: Vec<String> = used
        .filter(|name| name.starts_with("throng-"))
        .map(|name| name.replace('-', "_"))
        .collect();
    crates.push(env!("CARGO_PKG_NAME").to_owned());
    crates.sort_unstable();
    assert_eq!(crates, table::log_filter::CRATES);
}

#[test]
fn what_is_wrong_in_a_list_is_named() {
    for (toml, wrong) in [
        ("[http]\ntrusted_proxies = [\"10.0.0.1\", \"nginx.internal\"]\n", "\"nginx.internal\""),
        (
            "[http]\nallowed_origins = [\"chat.example\", \"https://b.example\", \"a/b\"]\n",
            "\"chat.example\": an origin begins with http:// or https://, or the scheme of an app, \
             \"a/b\": an origin begins with http:// or https://, or the scheme of an app",
        ),
        (
            "[http]\nengine_paths = [\"/ws\", \"ws\"]\n",
            "\"ws\": a path begins with a slash, and there is more of it",
        ),
        ("[rooms]\nlist = [{ id = 0, name = \"x\" }]\n", "{ id = 0, name = \"x\" }"),
        ("[http]\ntrusted_proxies = \"10.0.0.1x\"\n", "\"10.0.0.1x\""),
    ] {
        let faults = faults(toml);
        let end = format!("found {wrong}");
        assert!(faults.len() == 1 && faults[0].ends_with(&end), "{end}: {faults:?}");
    }
}

#[test]
fn without_a_path_of_the_engine_there_is_no_server() {
    let faults = faults("[http]\nengine_paths = []\n");
    assert!(faults.len() == 1 && faults[0].starts_with("http.engine_paths"), "{faults:?}");
}

#[test]
fn a_path_of_the_engine_is_no_other_path_of_the_server() {
    for taken in [
        "/health",
        "/ready/",
        "/metrics",
        "/api",
        "/api/",
        "/api/login",
        "/avatars/1.svg",
        "/storage",
        "/storage/app/x.png",
        "/assets/index.js",
        "/index.html",
        "/favicon.svg",
        "/socket.io/socket.io.min.js",
    ] {
        let faults = faults(&format!("[http]\nengine_paths = [\"/ws\", \"{taken}\"]\n"));
        let end = format!("found \"{taken}\": the server has something else at this path");
        assert!(faults.len() == 1 && faults[0].ends_with(&end), "{taken}: {faults:?}");
    }
    for free in ["/socket.io", "/ws", "/chat/socket.io", "/health/io", "/apis", "/socket.io/v4"] {
        let toml = format!("[http]\nengine_paths = [\"{free}\"]\n");
        assert!(load_toml(&toml, Flags::default()).is_ok(), "{free}");
    }
}

#[test]
fn a_path_of_the_engine_is_there_once() {
    let faults = faults("[http]\nengine_paths = [\"/ws\", \"/x\", \"/x/\"]\n");
    assert_eq!(faults, ["http.engine_paths: /x is there twice"]);
}

#[test]
fn two_sockets_do_not_have_one_address() {
    for (listen, admin) in [
        ("127.0.0.1:8090", "127.0.0.1:8090"),
        ("0.0.0.0:8090", "127.0.0.1:8090"),
        ("127.0.0.1:8090", "0.0.0.0:8090"),
        ("[::]:8090", "[::1]:8090"),
    ] {
        let faults = faults(&format!("listen = \"{listen}\"\n[admin]\nlisten = \"{admin}\"\n"));
        assert!(faults.len() == 1 && faults[0].starts_with("admin.listen"), "{faults:?}");
    }
    for (listen, admin) in [
        ("127.0.0.1:8090", "127.0.0.1:8091"),
        ("127.0.0.1:8090", "127.0.0.2:8090"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("0.0.0.0:8090", "[::1]:8090"),
    ] {
        let toml = format!("listen = \"{listen}\"\n[admin]\nlisten = \"{admin}\"\n");
        assert!(load_toml(&toml, Flags::default()).is_ok(), "{listen} and {admin}");
    }
}

#[test]
fn what_another_setting_prevents_is_a_warning() {
    for (toml, warned) in [
        (
            "log_filter = \"foo=debug, throngg=debug\"\n",
            "log_filter is \"foo=debug,throngg=debug\"",
        ),
        ("[rooms]\nlist = []\n", "rooms.list is empty and rooms.auto_create_max is 0"),
        ("max_payload = 4194303\n", "limits.image_bytes_max is 3145728 and max_payload is 4194303"),
        (
            "[limits]\nimage_bytes_max = 3145729\n",
            "limits.image_bytes_max is 3145729 and max_payload",
        ),
        ("[http]\nupload_bytes_max = 3145727\n", "http.upload_bytes_max is 3145727"),
        (
            "[limits]\nmessage_chars_max = 1025\nevent_bytes_max = 1024\n",
            "limits.message_chars_max is 1025 and limits.event_bytes_max is 1024",
        ),
        (
            "[rooms]\ndriver = \"table\"\n[redis]\nurl = \"redis://r\"\n",
            "redis.url is set and rooms.driver is table",
        ),
    ] {
        let (config, _) = load_toml(toml, Flags::default()).expect("it is valid");
        let found = &config.warnings;
        assert!(found.len() == 1 && found[0].contains(warned), "{warned}: {found:?}");
    }
    for toml in [
        "log_filter = \"off\"\n",
        "[rooms]\nlist = []\nauto_create_max = 1\n",
        "unlimited = true\n[rooms]\nlist = []\n",
        "max_payload = 4194304\n[limits]\nimage_bytes_max = 3145728\n",
        "[http]\nupload_bytes_max = 3145728\n",
        "[limits]\nmessage_chars_max = 1024\nevent_bytes_max = 1024\n",
        "[rooms]\ndriver = \"table\"\n",
        "[redis]\nurl = \"redis://r\"\n",
    ] {
        let (config, _) = load_toml(toml, Flags::default()).expect("it is valid");
        assert_eq!(config.warnings, Vec::<String>::new(), "{toml}");
    }
}

#[test]
fn what_serves_nothing_is_a_warning() {
    for (toml, warned) in [
        ("[admin]\npublic = false\n", "admin.public is false and admin.listen is not set"),
        ("[http]\ntrusted_proxies = [\"unix\"]\n", "listen_unix is not set"),
        ("[http]\ntrusted_proxies = [\"0.0.0.0/0\"]\n", "has 0.0.0.0/0"),
        ("[http]\ntrusted_proxies = [\"::/0\"]\n", "has ::/0"),
    ] {
        let (config, _) = load_toml(toml, Flags::default()).expect("it is valid");
        let found = &config.warnings;
        assert!(found.len() == 1 && found[0].contains(warned), "{warned}: {found:?}");
    }
    for toml in [
        "",
        "[admin]\npublic = false\nlisten = \"127.0.0.1:0\"\n",
        "listen_unix = \"x.sock\"\n[http]\ntrusted_proxies = [\"unix\", \"10.0.0.0/8\"]\n",
    ] {
        let (config, _) = load_toml(toml, Flags::default()).expect("it is valid");
        assert_eq!(config.warnings, Vec::<String>::new(), "{toml}");
    }
}
