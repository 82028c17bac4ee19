use bytes::Bytes;

use super::*;

fn files(name: &str, entries: &[(&str, &str)]) -> Volume {
    let file = |text: &str| File {
        content: Bytes::copy_from_slice(text.as_bytes()),
        mode: 0o640,
    };
    let files = entries
        .iter()
        .map(|(path, text)| ((*path).to_owned(), file(text)))
        .collect();
    Volume {
        name: name.to_owned(),
        source: VolumeSource::Files(files),
    }
}

fn mount(volume: &str, sub_path: &str) -> VolumeMount {
    VolumeMount {
        volume: volume.to_owned(),
        path: "/x".to_owned(),
        sub_path: sub_path.to_owned(),
        read_only: true,
    }
}

#[test]
fn files_are_replaced_together_and_those_that_went_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::new(dir.path()).unwrap();
    let place = dir.path().join("volumes/u1/config");
    volumes
        .write("u1", &[files("config", &[("a", "1"), ("deep/b", "2")])])
        .unwrap();
    assert_eq!(fs::read_to_string(place.join("a")).unwrap(), "1");
    assert_eq!(fs::read_to_string(place.join("deep/b")).unwrap(), "2");
    let mode = fs::metadata(place.join("a")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let before = fs::read_link(place.join("..data")).unwrap();
    volumes
        .write("u1", &[files("config", &[("a", "3"), ("c", "4")])])
        .unwrap();
    assert_ne!(fs::read_link(place.join("..data")).unwrap(), before);
    assert_eq!(fs::read_to_string(place.join("a")).unwrap(), "3");
    assert_eq!(fs::read_to_string(place.join("c")).unwrap(), "4");
    assert!(fs::symlink_metadata(place.join("deep")).is_err());
    assert!(!place.join(&before).try_exists().unwrap());
}

#[test]
fn writing_the_same_again_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::new(dir.path()).unwrap();
    let wanted = [files("config", &[("a", "1")])];
    volumes.write("u1", &wanted).unwrap();
    let file = dir.path().join("volumes/u1/config/a");
    let before = fs::metadata(&file).unwrap().modified().unwrap();
    volumes.write("u1", &wanted).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before);
    assert_eq!(volumes.list().unwrap(), ["u1"]);
    assert_eq!(volumes.written("u1").unwrap(), Some(hash_all(&wanted)));
    assert_eq!(volumes.written("u2").unwrap(), None);
    assert_eq!(volumes.written("../u1").unwrap(), None);
}

#[test]
fn a_write_that_was_interrupted_is_finished_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::new(dir.path()).unwrap();
    let wanted = [files("config", &[("a", "1")])];
    let torn = dir
        .path()
        .join(format!("volumes/u1/config/..{:016x}", wanted[0].hash()));
    fs::create_dir_all(&torn).unwrap();
    fs::write(torn.join("a"), "torn").unwrap();
    assert_eq!(volumes.written("u1").unwrap(), Some(0));
    volumes.write("u1", &wanted).unwrap();
    assert_eq!(
        fs::read_to_string(dir.path().join("volumes/u1/config/a")).unwrap(),
        "1"
    );
}

#[test]
fn an_empty_directory_keeps_what_was_put_into_it() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::new(dir.path()).unwrap();
    let scratch = [Volume {
        name: "scratch".to_owned(),
        source: VolumeSource::Empty,
    }];
    volumes.write("u1", &scratch).unwrap();
    let kept = dir.path().join("volumes/u1/scratch/kept");
    fs::write(&kept, "x").unwrap();
    volumes.write("u1", &scratch).unwrap();
    assert!(kept.try_exists().unwrap());
    volumes.remove("u1").unwrap();
    volumes.remove("u1").unwrap();
    assert!(volumes.list().unwrap().is_empty());
}

#[test]
fn removing_volumes_leaves_the_host_alone() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::new(dir.path()).unwrap();
    let precious = dir.path().join("precious");
    let source = VolumeSource::Host {
        path: precious.clone(),
        create: true,
    };
    let host = [Volume {
        name: "host".to_owned(),
        source,
    }];
    volumes.write("u1", &host).unwrap();
    let mounts = volumes.mounts("u1", &host, &[mount("host", "")]).unwrap();
    assert_eq!(mounts[0].host_path, precious);
    volumes.remove("u1").unwrap();
    assert!(precious.try_exists().unwrap());
}

#[test]
fn a_part_of_a_volume_cannot_lead_out_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::new(dir.path()).unwrap();
    let config = [files("config", &[("a", "1")])];
    assert!(
        volumes
            .mounts("u1", &config, &[mount("config", "a")])
            .is_ok()
    );
    for sub_path in ["../other", "/etc", "a/../../b"] {
        assert!(
            volumes
                .mounts("u1", &config, &[mount("config", sub_path)])
                .is_err(),
            "{sub_path}"
        );
    }
    assert!(volumes.write("../u1", &config).is_err());
    assert!(volumes.write("u1", &[files("..data", &[])]).is_err());
}
