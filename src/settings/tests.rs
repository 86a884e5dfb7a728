use std::path::PathBuf;

use super::*;

const SECRET: &str = "rev_mk_0123456789abcdef-hidden";

/// Settings from a configuration and variables, with the warnings.
fn load(config: &str, env: &[(&str, &str)]) -> Result<(Settings, Vec<String>)> {
    Settings::load(Some(config), &lookup(env))
}

fn lookup(env: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    move |name| env.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
}

fn ok(config: &str, env: &[(&str, &str)]) -> Settings {
    let (settings, warnings) = load(config, env).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    settings
}

fn exposed(credential: Option<Credential>) -> String {
    match credential {
        Some(Credential::ApiKey(key)) => format!("key {}", key.expose()),
        Some(Credential::AuthToken(token)) => format!("token {}", token.expose()),
        None => "none".into(),
    }
}

/// A file that is gone when the test is.
struct File(PathBuf);

impl File {
    fn new(name: &str, content: &str) -> File {
        let path = std::env::temp_dir().join(format!("revenium-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        File(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn every_default_is_a_valid_value() {
    for setting in TABLE.iter().filter(|setting| !setting.default.is_empty()) {
        let default = Value::from_environment(&setting.kind, "", setting.default);
        assert!(Settings::default().take(setting, default), "{}", setting.key);
    }
    let (settings, warnings) = Settings::load(None, &|_| None).unwrap();
    assert!(warnings.is_empty());
    assert_eq!(settings, ok("{}", &[]));
    assert_eq!(settings.in_force().len(), TABLE.len());
    assert_eq!((settings.max_retries, settings.worker_threads, settings.max_response_bytes), (2, 1, 64 << 20));
    assert_eq!((settings.read_timeout_ms, settings.metering_timeout_ms), (600_000, 10_000));
    assert_eq!((settings.log_level, settings.bedrock_fallback, settings.metadata.as_str()), (Level::Warn, true, "{}"));
    assert_eq!((settings.spool_dir, settings.spool_sync), (None, SpoolSync::Process));
}

#[test]
fn keys_and_variables_follow_the_rule_of_the_header() {
    let mut keys: Vec<_> = TABLE.iter().map(|setting| setting.key).collect();
    for setting in TABLE {
        let names = setting.env_names();
        let upper = setting.key.to_ascii_uppercase();
        assert!(names[0] == upper || names[0] == format!("REVENIUM_{upper}"), "{names:?}");
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), TABLE.len());
}

#[test]
fn configuration_over_environment_over_file_over_default() {
    let file = File::new(
        "layers.env",
        "\u{feff}# layers\nREVENIUM_MAX_RETRIES=3\nexport REVENIUM_WORKER_THREADS='4'\nREVENIUM_MAX_IN_FLIGHT=5\n",
    );
    let env = [
        ("REVENIUM_ENV_FILE", file.path()),
        ("REVENIUM_WORKER_THREADS", " 6 "),
        ("REVENIUM_MAX_IN_FLIGHT", " "),
        ("REVENIUM_CALLBACK_THREADS", "7"),
    ];
    let settings = ok(r#"{"callback_threads":8,"timeout_ms":null}"#, &env);
    let numbers = (settings.max_retries, settings.worker_threads, settings.max_in_flight, settings.callback_threads);
    assert_eq!(numbers, (3, 6, 5, 8));
    assert_eq!(settings.timeout_ms, 0);
}

#[test]
fn configuration_takes() {
    let check = |config: &str, is_so: fn(&Settings) -> bool| assert!(is_so(&ok(config, &[])), "{config}");
    check(r#"{"max_retries":0}"#, |s| s.max_retries == 0);
    check(r#"{"max_retries":3.0}"#, |s| s.max_retries == 3);
    check(r#"{"debug":true,"log_level":"error"}"#, |s| {
        s.log_level == Level::Debug && s.in_force()["log_level"] == "DEBUG"
    });
    check(r#"{"log_level":" warning "}"#, |s| s.log_level == Level::Warn);
    check(r#"{"provider":"Bedrock","auth_header":"BEARER"}"#, |s| {
        s.provider == ProviderChoice::Asked(Provider::Bedrock) && s.auth_header == AuthHeader::Bearer
    });
    check(r#"{"spool_dir":""}"#, |s| s.spool_dir.as_deref() == Some(""));
    check(r#"{"spool_dir":"/x","spool_sync":"power"}"#, |s| {
        s.spool_dir.as_deref() == Some("/x") && s.spool_sync == SpoolSync::Power
    });
    check(r#"{"anthropic_base_url":"http://127.0.0.1:1/p/"}"#, |s| s.anthropic_base_url == "http://127.0.0.1:1/p/");
    check(r#"{"anthropic_base_url":""}"#, |s| s.anthropic_base_url == "https://api.anthropic.com");
    check(r#"{"anthropic_beta":"a-1, b-2,"}"#, |s| s.anthropic_beta == ["a-1", "b-2"]);
    check(r#"{"anthropic_beta":["a-1","b-2"]}"#, |s| s.anthropic_beta == ["a-1", "b-2"]);
    check(r#"{"anthropic_custom_headers":"X-A: b c\r\nno colon\nx-e:"}"#, |s| {
        let [(a, b), (e, empty)] = &s.anthropic_custom_headers[..] else { return false };
        (a.as_str(), b.expose(), e.as_str(), empty.expose()) == ("X-A", "b c", "x-e", "")
    });
    check(r#"{"bedrock_region_prefix":"us.","aws_region":"eu-west-1"}"#, |s| {
        (s.bedrock_region_prefix.as_deref(), s.aws_region.as_deref()) == (Some("us"), Some("eu-west-1"))
    });
    check(r#"{"bedrock_model_map":{"a":"b"}}"#, |s| s.bedrock_model_map["a"] == "b");
    check(r#"{"bedrock_model_map":"{\"a\":\"b\"}"}"#, |s| s.bedrock_model_map["a"] == "b");
    check(r#"{"metadata":{"n": 1.50}}"#, |s| s.metadata == r#"{"n": 1.50}"#);
    check(r#"{"trace_name":"t","retry_number":2,"skill_name":""}"#, |s| {
        s.record_fields == [("trace_name", "t".to_string()), ("retry_number", "2".to_string())]
    });
}

#[test]
fn configuration_refuses() {
    for (config, code, sentence) in [
        ("", Code::Json, "the configuration is not JSON: error at line 1 column 0"),
        ("{\"a\":1,\n}", Code::Json, "the configuration is not JSON: error at line 2 column 1"),
        ("[]", Code::Json, "the configuration must be a JSON object"),
        (r#"{"max_retry":1}"#, Code::Config, r#"there is no setting "max_retry"; did you mean max_retries?"#),
        (r#"{"timeoutMs":1}"#, Code::Config, r#"there is no setting "timeoutMs"; did you mean timeout_ms?"#),
        (r#"{"REVENIUM_DEBUG":1}"#, Code::Config, r#"there is no setting "REVENIUM_DEBUG"; did you mean debug?"#),
        (r#"{"zzzzzzzzzzzzzzz":1}"#, Code::Config, r#"there is no setting "zzzzzzzzzzzzzzz""#),
        (r#"{"max_retries":11}"#, Code::Config, "max_retries must be a whole number from 0 to 10"),
        (r#"{"max_retries":-1}"#, Code::Config, "max_retries must be a whole number from 0 to 10"),
        (r#"{"max_retries":1.5}"#, Code::Config, "max_retries must be a whole number from 0 to 10"),
        (r#"{"max_retries":"1"}"#, Code::Config, "max_retries must be a whole number from 0 to 10"),
        (r#"{"debug":"true"}"#, Code::Config, "debug must be true or false"),
        (r#"{"log_level":"loud"}"#, Code::Config, "log_level must be `DEBUG`, `INFO`, `WARN`, `ERROR` or `CRITICAL`"),
        (r#"{"provider":"openai"}"#, Code::Config, "provider must be `auto`, `anthropic` or `bedrock`"),
        (r#"{"anthropic_version":{}}"#, Code::Config, "anthropic_version must be one word of visible ASCII characters"),
        (r#"{"anthropic_beta":"a b"}"#, Code::Config, "anthropic_beta must be a comma-separated list"),
        (
            r#"{"anthropic_base_url":"ftp://x"}"#,
            Code::Config,
            "anthropic_base_url must be an http or https URL without query",
        ),
        (
            r#"{"anthropic_base_url":"https://x/?a"}"#,
            Code::Config,
            "anthropic_base_url must be an http or https URL without query",
        ),
        (
            r#"{"anthropic_custom_headers":"a b: c"}"#,
            Code::Config,
            "anthropic_custom_headers must be lines of the form `Name: value`",
        ),
        (r#"{"metadata":[1]}"#, Code::Config, "metadata must be a JSON object"),
        (
            r#"{"bedrock_model_map":{"a":1}}"#,
            Code::Config,
            "bedrock_model_map must be a JSON object whose values are text",
        ),
        (
            r#"{"aws_region":"x.evil/"}"#,
            Code::Config,
            "aws_region must be lower-case letters, digits and hyphens, such as `us-east-1`",
        ),
        (r#"{"trace_name":{}}"#, Code::Config, "trace_name must be text"),
        (
            r#"{"metering_api_key":"abc-hidden"}"#,
            Code::Config,
            "metering_api_key must be a Revenium key, which begins with hak_ or rev_",
        ),
        (
            r#"{"anthropic_api_key":"two words"}"#,
            Code::Config,
            "anthropic_api_key must be one word of visible ASCII characters",
        ),
        (r#"{"env_file":"/nowhere/.env"}"#, Code::Config, "env_file: /nowhere/.env cannot be read: entity not found"),
    ] {
        let error = load(config, &[]).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (code, sentence), "{config}");
    }
}

#[test]
fn environment_takes() {
    let check = |name: &str, value: &str, is_so: fn(&Settings) -> bool| {
        assert!(is_so(&ok("{}", &[(name, value)])), "{name}={value}");
    };
    check("REVENIUM_SELECTIVE_METERING", " Yes ", |s| s.selective_metering);
    check("REVENIUM_SELECTIVE_METERING", "", |s| !s.selective_metering);
    check("REVENIUM_BEDROCK_FALLBACK", "OFF", |s| !s.bedrock_fallback);
    check("REVENIUM_BEDROCK_DISABLE", "1", |s| s.bedrock_disable);
    check("REVENIUM_DEBUG", "1", |s| s.log_level == Level::Debug);
    check("REVENIUM_LOG_LEVEL", "Critical", |s| s.log_level == Level::Error);
    check("REVENIUM_METERING_TIMEOUT_SECONDS", "2.5", |s| s.metering_timeout_ms == 2500);
    check("REVENIUM_BUFFER_MAX_SIZE", "7", |s| s.metering_queue_size == 7);
    check("REVENIUM_BEDROCK_MODEL_MAP", r#"{"a":"b"}"#, |s| s.bedrock_model_map["a"] == "b");
    check("REVENIUM_SPOOL_DIR", "", |s| s.spool_dir.is_none());
    check("AWS_DEFAULT_REGION", "us-east-1", |s| {
        s.aws_region.as_deref() == Some("us-east-1") && s.record_fields == [("region", "us-east-1".to_string())]
    });
    check("DEPLOYMENT_ENV", "prod", |s| s.record_fields == [("environment", "prod".to_string())]);
    check("REVENIUM_ORGANIZATION_ID", "acme", |s| s.record_fields == [("organization_name", "acme".to_string())]);

    let both = [("REVENIUM_METERING_TIMEOUT_SECONDS", "2"), ("REVENIUM_METERING_TIMEOUT_MS", "3")];
    assert_eq!(ok("{}", &both).metering_timeout_ms, 3);
}

#[test]
fn bad_variables_warn_and_leave_the_default() {
    for (name, value, warning) in [
        ("REVENIUM_MAX_RETRIES", "many", "it must be a whole number from 0 to 10"),
        ("REVENIUM_MAX_RETRIES", "99", "it must be a whole number from 0 to 10"),
        ("REVENIUM_METERING_TIMEOUT_SECONDS", "nan", "it must be a whole number from 1 to 3600000"),
        ("REVENIUM_SELECTIVE_METERING", "maybe", "it must be true or false"),
        ("REVENIUM_METERING_API_KEY", "abc-hidden", "it must be a Revenium key, which begins with hak_ or rev_"),
    ] {
        let (settings, warnings) = load("{}", &[(name, value)]).unwrap();
        assert_eq!(warnings, [format!("{name} is ignored: {warning}")]);
        assert_eq!(settings, ok("{}", &[]), "{name}={value}");
        assert_eq!(settings.refusal(Provider::Bedrock, false), None);
    }
}

#[test]
fn what_steers_prompts_and_keys_has_no_default_where_it_is_malformed() {
    let file = File::new("bad.env", "REVENIUM_MAX_RETRIES=3\nA='never closed, hidden\n");
    let word = "it must be one word of visible ASCII characters";
    // Refused: calls to Anthropic with a credential, without one, and to Bedrock.
    for (name, value, why, refused) in [
        ("REVENIUM_BEDROCK_FALLBACK", "flase", "it must be true or false", [true; 3]),
        ("REVENIUM_BEDROCK_DISABLE", "maybe", "it must be true or false", [true; 3]),
        ("REVENIUM_BODY_CHOICES", "nein", "it must be true or false", [true; 3]),
        ("REVENIUM_PROVIDER", "bedrok", "it must be `auto`, `anthropic` or `bedrock`", [true; 3]),
        ("REVENIUM_BEDROCK_MODEL_MAP", "{", "it must be a JSON object whose values are text", [true; 3]),
        ("REVENIUM_BEDROCK_REGION_PREFIX", "E U", "it must be lower-case letters", [true; 3]),
        ("ANTHROPIC_BASE_URL", "api.anthropic.com", "it must be an http or https URL without query", [true; 3]),
        ("REVENIUM_ENV_FILE", "/nowhere/.env", "/nowhere/.env cannot be read: entity not found", [true; 3]),
        ("REVENIUM_ENV_FILE", file.path(), "is not a .env file: its entry 2 is malformed", [true; 3]),
        ("AWS_REGION", "US East", "it must be lower-case letters", [false, false, true]),
        ("ANTHROPIC_API_KEY", "schlüssel-hidden", word, [false, true, true]),
        ("ANTHROPIC_AUTH_TOKEN", "two words-hidden", word, [false, true, true]),
    ] {
        let (settings, warnings) = load("{}", &[(name, value)]).unwrap();
        let [warning] = &warnings[..] else { panic!("{name}: {warnings:?}") };
        assert!(warning.starts_with(name) && warning.contains(why) && !warning.contains("hidden"), "{warning}");
        let calls = [(Provider::Anthropic, true), (Provider::Anthropic, false), (Provider::Bedrock, false)];
        for ((provider, has_credential), refused) in calls.into_iter().zip(refused) {
            let text = settings.refusal(provider, has_credential);
            assert_eq!(text, refused.then_some(warning.as_str()), "{name} {provider:?}");
        }
        // The configuration wins; then nobody reads the variable.
        if let Some(key) = name.strip_prefix("REVENIUM_BEDROCK_").filter(|key| *key != "MODEL_MAP") {
            let value = if key == "REGION_PREFIX" { "\"eu\"" } else { "true" };
            let config = format!(r#"{{"bedrock_{}":{value}}}"#, key.to_lowercase());
            assert_eq!(load(&config, &[(name, "?!")]).unwrap().0.refusal(Provider::Bedrock, false), None, "{config}");
        }
    }
}

#[test]
fn the_metering_key_may_come_later() {
    for (config, env, later, expected) in [
        ("{}", "", "hak_2", Some("hak_2")),
        ("{}", "rev_1", "hak_2", Some("rev_1")),
        ("{}", "bad", " hak_2\n", Some("hak_2")),
        ("{}", "", "bad", None),
        ("{}", "", "", None),
        (r#"{"metering_api_key":" rev_0 "}"#, "rev_1", "hak_2", Some("rev_0")),
        (r#"{"metering_api_key":""}"#, "rev_1", "hak_2", None),
    ] {
        let (settings, _) = load(config, &[("REVENIUM_METERING_API_KEY", env)]).unwrap();
        let key = settings.metering_key(&lookup(&[("REVENIUM_METERING_API_KEY", later)]));
        assert_eq!(key.as_ref().map(Secret::expose), expected, "{config} {env} {later}");
    }
}

#[test]
fn one_anthropic_credential_is_chosen() {
    for (config, (key, token), expected) in [
        ("{}", ("", ""), "none"),
        ("{}", ("k", " "), "key k"),
        ("{}", (" ", "t"), "token t"),
        ("{}", ("k", "t"), "key k"),
        (r#"{"anthropic_api_key":"c"}"#, ("k", "t"), "key c"),
        (r#"{"anthropic_auth_token":"c"}"#, ("k", "t"), "token c"),
        (r#"{"anthropic_api_key":"c","anthropic_auth_token":"d"}"#, ("k", "t"), "key c"),
        (r#"{"anthropic_api_key":""}"#, ("k", "t"), "token t"),
        (r#"{"anthropic_auth_token":""}"#, ("k", "t"), "key k"),
        (r#"{"anthropic_api_key":"","anthropic_auth_token":""}"#, ("k", "t"), "none"),
    ] {
        let env = [("ANTHROPIC_API_KEY", key), ("ANTHROPIC_AUTH_TOKEN", token)];
        let (settings, _) = load(config, &env).unwrap();
        assert_eq!(exposed(settings.anthropic_credential(&lookup(&env))), expected, "{config} {env:?}");
    }
    // What comes after the start.
    let later = lookup(&[("ANTHROPIC_API_KEY", "k")]);
    assert_eq!(exposed(ok("{}", &[]).anthropic_credential(&later)), "key k");
    assert_eq!(exposed(ok(r#"{"anthropic_auth_token":"c"}"#, &[]).anthropic_credential(&later)), "token c");

    let (_, warnings) = load("{}", &[("ANTHROPIC_API_KEY", "k"), ("ANTHROPIC_AUTH_TOKEN", "t")]).unwrap();
    assert_eq!(warnings, ["the Anthropic auth token is ignored: there is an API key too, which wins"]);
}

#[test]
fn nothing_prints_a_secret() {
    let config = serde_json::json!({
        "metering_api_key": SECRET,
        "anthropic_api_key": SECRET,
        "anthropic_auth_token": SECRET,
        "anthropic_custom_headers": format!("x-gateway: {SECRET}"),
        "anthropic_base_url": format!("https://me:{SECRET}@proxy.example/a"),
        "metering_base_url": format!("https://proxy.example/?key={SECRET}"),
        "metadata": {"subscriber": {"email": "hidden@example.org"}},
        "trace_name": SECRET,
    });
    let settings = load(&config.to_string(), &[]).unwrap().0;
    let credential = settings.anthropic_credential(&|_| None);
    assert_eq!(exposed(credential.clone()), format!("key {SECRET}"));

    let shown = serde_json::to_string(settings.in_force()).unwrap();
    let secret = settings.metering_key(&|_| None).unwrap();
    let headers = &settings.anthropic_custom_headers;
    for text in [shown, format!("{settings:?}{credential:?}{secret:?}{secret:#?}{secret}{headers:?}")] {
        assert!(!text.contains("hidden") && !text.contains("0123456789"), "{text}");
    }
    for (key, value) in [
        ("metering_api_key", Json::Bool(true)),
        ("anthropic_custom_headers", Json::Bool(true)),
        ("anthropic_base_url", "https://[REDACTED]@proxy.example/a".into()),
        ("metadata", serde_json::json!({"subscriber": {"email": "[REDACTED]"}})),
        ("max_retries", 2.into()),
        ("spool_dir", Json::Null),
    ] {
        assert_eq!(settings.in_force()[key], value, "{key}");
    }
    for setting in TABLE.iter().filter(|setting| setting.secret) {
        assert_eq!(ok("{}", &[]).in_force()[setting.key], Json::Bool(false), "{}", setting.key);
    }

    for (key, value) in [("metering_api_key", "a hidden one"), ("sk-ant-0123456789-hidden", "x")] {
        let error = load(&serde_json::json!({ key: value }).to_string(), &[]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hidden"), "{error}");
    }
    assert!(!Secret::new("schlüssel-hidden").unwrap_err().message.contains("hidden"));
}

#[test]
fn equal_means_the_same_effect() {
    let base = ok(r#"{"max_retries":3}"#, &[]);
    assert_eq!(base, ok("{}", &[("REVENIUM_MAX_RETRIES", "3")]));
    assert_ne!(base, ok("{}", &[]));
    assert_eq!(ok(r#"{"provider":"BEDROCK"}"#, &[]), ok(r#"{"provider":"bedrock"}"#, &[]));
    let key = |key| ok(&serde_json::json!({ "anthropic_api_key": key }).to_string(), &[]);
    assert_eq!(key("a"), key(" a "));
    assert_ne!(key("a"), key("b"));
}

#[test]
fn the_table_has_a_row_for_each_setting() {
    let table = table_markdown();
    let rows: Vec<_> = table.lines().collect();
    assert_eq!(rows.len(), TABLE.len() + 2);
    assert!(rows.iter().all(|row| row.matches('|').count() == 6), "{table}");
    let retries = "| `max_retries` | `REVENIUM_MAX_RETRIES` | a whole number from 0 to 10 | `2` | Attempts after the first, on connection errors and on 408, 409, 429 and 5xx. |";
    assert!(rows.contains(&retries), "{table}");
}
