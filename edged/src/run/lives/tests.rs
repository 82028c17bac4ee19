use super::*;

fn name(name: &str) -> Name {
    ("default".to_owned(), name.to_owned())
}

#[test]
fn a_life_goes_by_one_name() {
    let mut lives = Lives::default();
    lives.put("u1", &found_name("u1", None));
    lives.put("u2", &name("web"));
    lives.put("u1", &name("web"));
    assert_eq!(lives.of(&name("web")), ["u1", "u2"]);
    assert_eq!(lives.name("u1"), Some(&name("web")));
    assert_eq!(lives.all().count(), 1);
    lives.remove("u1");
    lives.remove("u2");
    lives.remove("u3");
    assert_eq!(lives.all().count(), 0);
}
