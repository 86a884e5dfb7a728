//! Whether AWS credentials are configured, from the environment and the profile files. It says "configured", not
//! "valid", and asks nobody: an instance role, which only the network knows, is not seen.

use crate::common::os::{self, PerProcess};
use crate::common::sync::Mutex;
use crate::settings::Environment;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long it counts what the profile files said: each call without keys asks, on its caller's thread.
const HOLDS: Duration = Duration::from_secs(5);

static SEEN: PerProcess<Mutex<Option<Seen>>> = PerProcess::empty();

/// What was found in files, and when.
struct Seen {
    at: Instant,
    files: [File; 2],
    leads: bool,
}

/// A file that may hold the profile, and the profile's sections there.
#[derive(PartialEq)]
struct File {
    path: Option<PathBuf>,
    sections: [String; 2],
}

pub fn look_again() {
    *SEEN.get(|_| Mutex::default()).lock() = None;
}

/// Members of a profile that lead to credentials.
const PROFILE_KEYS: &[&str] = &[
    "aws_access_key_id",
    "role_arn",
    "sso_session",
    "sso_start_url",
    "sso_account_id",
    "credential_process",
    "web_identity_token_file",
];

/// What there is, if anything.
pub fn aws_credentials(env: Environment<'_>) -> Option<&'static str> {
    let has = |name: &str| env(name).is_some_and(|value| !value.trim().is_empty());
    if has("AWS_BEARER_TOKEN_BEDROCK") {
        Some("a Bedrock API key")
    } else if has("AWS_ACCESS_KEY_ID") && has("AWS_SECRET_ACCESS_KEY") {
        Some("access keys in the environment")
    } else if has("AWS_WEB_IDENTITY_TOKEN_FILE") && has("AWS_ROLE_ARN") {
        Some("a web identity")
    } else if has("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") || has("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
        Some("container credentials")
    } else {
        has_profile(env).then_some("a profile")
    }
}

fn has_profile(env: Environment<'_>) -> bool {
    // An empty name is, for AWS, that of no profile.
    let name = env("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
    let files = [
        ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", name.clone()),
        // The default profile of the config file goes without "profile".
        ("AWS_CONFIG_FILE", ".aws/config", format!("profile {name}")),
    ];
    let files = files
        .map(|(variable, usual, section)| File { path: path(env, variable, usual), sections: [section, name.clone()] });
    let mut seen = SEEN.get(|_| Mutex::default()).lock();
    if let Some(seen) = &*seen
        && seen.files == files
        && seen.at.elapsed() < HOLDS
    {
        return seen.leads;
    }
    let leads = files.iter().any(|file| {
        let text = file.path.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        text.is_some_and(|text| leads_to_credentials(&text, &file.sections.each_ref().map(String::as_str)))
    });
    *seen = Some(Seen { at: Instant::now(), files, leads });
    leads
}

fn path(env: Environment<'_>, variable: &str, usual: &str) -> Option<PathBuf> {
    let home = || os::home(env);
    match env(variable).filter(|path| !path.is_empty()) {
        None => Some(home()?.join(usual)),
        Some(path) => match path.strip_prefix("~/") {
            Some(rest) => Some(home()?.join(rest)),
            None => Some(path.into()),
        },
    }
}

/// Whether one of these sections of an INI file has a member that leads to credentials.
fn leads_to_credentials(text: &str, sections: &[&str]) -> bool {
    let mut inside = false;
    for line in text.lines().map(str::trim_end) {
        if let Some(section) = line.trim_start().strip_prefix('[') {
            let section = section.split(']').next().unwrap_or_default();
            let section = section.split_whitespace().collect::<Vec<_>>().join(" ");
            inside = sections.contains(&section.as_str());
        } else if inside && let Some((key, value)) = line.split_once('=') {
            let key = key.trim().to_ascii_lowercase();
            if PROFILE_KEYS.contains(&key.as_str()) && !value.trim().is_empty() {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_what_there_is() {
        for (vars, want) in [
            (&[][..], None),
            (&["AWS_ACCESS_KEY_ID"], None),
            (&["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], Some("access keys in the environment")),
            (&["AWS_BEARER_TOKEN_BEDROCK"], Some("a Bedrock API key")),
            (&["AWS_WEB_IDENTITY_TOKEN_FILE"], None),
            (&["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"], Some("a web identity")),
            (&["AWS_CONTAINER_CREDENTIALS_FULL_URI"], Some("container credentials")),
        ] {
            assert_eq!(aws_credentials(&|name| vars.contains(&name).then(|| "x".to_owned())), want, "{vars:?}");
        }
    }

    #[test]
    fn profiles_count_when_they_lead_to_credentials() {
        let config = "[default]\nregion = eu-west-1\n# aws_access_key_id = no\n\n[profile  sso] \n sso_session= s\n\
                      [profile empty]\nrole_arn =\n[sso]\n[services x]\naws_access_key_id = no\n[other]\nrole_arn = r\n";
        for (name, want) in [("default", false), ("sso", true), ("empty", false), ("x", false), ("other", true)] {
            let profile = format!("profile {name}");
            assert_eq!(leads_to_credentials(config, &[&profile, name]), want, "{name}");
        }
    }

    #[test]
    fn files_are_found_as_aws_finds_them() {
        let folder = std::env::temp_dir().join(format!("revenium-profile-{}", std::process::id()));
        std::fs::create_dir_all(folder.join(".aws")).unwrap();
        std::fs::write(folder.join(".aws/config"), "[profile dev]\ncredential_process = /bin/true\n").unwrap();
        let home = folder.to_str().unwrap().to_owned();
        let with = |vars: &[(&str, &str)]| {
            let vars: Vec<_> = vars.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            let home = home.clone();
            aws_credentials(&move |name| {
                let set = vars.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
                set.or_else(|| (name == "HOME").then(|| home.clone()))
            })
        };
        assert_eq!(with(&[]), None);
        assert_eq!(with(&[("AWS_PROFILE", "dev")]), Some("a profile"));
        assert_eq!(with(&[("AWS_PROFILE", "dev"), ("AWS_CONFIG_FILE", "~/.aws/config")]), Some("a profile"));
        assert_eq!(with(&[("AWS_PROFILE", "dev"), ("AWS_CONFIG_FILE", "/dev/null")]), None);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
