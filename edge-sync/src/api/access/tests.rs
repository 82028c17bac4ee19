use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn headers(authorization: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, authorization.parse().unwrap());
    headers
}

#[test]
fn a_token_is_made_once_and_only_its_owner_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = dir.path().join("node");
    let token = ApiToken::of(&node).unwrap();
    assert!(token.secret().len() >= TOKEN_BYTES_MIN);
    assert_eq!(ApiToken::of(&node).unwrap(), token);
    let file = fs::metadata(node.join(TOKEN_FILE)).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    let other = ApiToken::of(&dir.path().join("other")).unwrap();
    assert_ne!(other, token);
    assert!(!format!("{token:?}").contains(token.secret()));
}

#[test]
fn a_token_that_others_could_read_is_taken_from_them() {
    let dir = tempfile::tempdir().unwrap();
    let token = ApiToken::of(dir.path()).unwrap();
    let path = dir.path().join(TOKEN_FILE);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(ApiToken::of(dir.path()).unwrap(), token);
    let mode = fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_file_that_holds_no_token_is_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(TOKEN_FILE);
    let long = "x".repeat(TOKEN_BYTES_MAX + 1);
    for text in [
        "",
        "short",
        "0123456789012345678901234567890\n\"",
        long.as_str(),
    ] {
        fs::write(&path, text).unwrap();
        let refused = ApiToken::of(dir.path()).unwrap_err();
        assert!(matches!(refused, TokenError::Malformed { .. }), "{text:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    fs::write(&path, "one-that_somebody-wrote-0123456789\n").unwrap();
    let token = ApiToken::of(dir.path()).unwrap();
    assert_eq!(token.secret(), "one-that_somebody-wrote-0123456789");
}

#[test]
fn the_token_is_known_however_a_client_shows_it() {
    let token = ApiToken("0123456789abcdef0123456789abcdef".into());
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    for shown in [
        format!("Bearer {}", token.secret()),
        format!("bearer  {}", token.secret()),
        basic(&format!("causeway:{}", token.secret())),
        basic(&format!(":{}", token.secret())),
    ] {
        assert!(token.is_shown(&headers(&shown)), "{shown}");
    }
    for shown in [
        String::new(),
        "Bearer ".to_owned(),
        "Bearer 0123456789abcdef0123456789abcdeX".to_owned(),
        format!("Bearer {}0", token.secret()),
        format!("Bearer {}", &token.secret()[1..]),
        token.secret().to_owned(),
        format!("Basic {}", token.secret()),
        basic(token.secret()),
        basic("causeway:"),
    ] {
        assert!(!token.is_shown(&headers(&shown)), "{shown}");
    }
    assert!(!token.is_shown(&HeaderMap::new()));
}

#[test]
fn a_kubeconfig_names_an_address_that_can_be_reached() {
    let token = ApiToken("0123456789abcdef0123456789abcdef".into());
    let text = kubeconfig("edge-1", "0.0.0.0:10550".parse().unwrap(), Some(&token));
    let server = "server: http://causeway:0123456789abcdef0123456789abcdef@127.0.0.1:10550\n";
    assert!(text.contains(server), "{text}");
    let text = kubeconfig("edge-1", "[::]:10550".parse().unwrap(), None);
    assert!(text.contains("server: http://[::1]:10550\n"), "{text}");
}
