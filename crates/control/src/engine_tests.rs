use super::*;
use amime_model::diagnostic::Severity;
use std::fs;
use std::path::Path;

fn service(name: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  ports: [{{name: http, port: 80}}]\n")
}

fn options(path: &Path) -> EngineOptions {
    EngineOptions::new(vec![Input::Path(path.to_owned())])
}

async fn until(follow: &mut watch::Receiver<Generation>, holds: impl Fn(&Generation) -> bool) -> Generation {
    let wanted = follow.wait_for(|generation| holds(generation));
    tokio::time::timeout(Duration::from_secs(20), wanted).await.expect("no such generation came").unwrap().clone()
}

fn has(generation: &Generation, name: &str) -> bool {
    let id = amime_model::resource::ResourceId::new(amime_model::resource::Kind::Service, "default", name);
    generation.snapshot.object(&id).is_some()
}

#[tokio::test]
async fn edits_new_files_and_renames_are_published() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), service("a")).unwrap();
    let mut follow = start(options(folder.path())).unwrap();
    assert!(has(&follow.borrow(), "a"));
    fs::write(folder.path().join("a.yaml"), service("b")).unwrap();
    until(&mut follow, |g| has(g, "b") && !has(g, "a")).await;
    fs::write(folder.path().join("new.tmp"), service("c")).unwrap();
    fs::rename(folder.path().join("new.tmp"), folder.path().join("c.yaml")).unwrap();
    until(&mut follow, |g| has(g, "b") && has(g, "c")).await;
    fs::create_dir(folder.path().join("below")).unwrap();
    fs::write(folder.path().join("below/d.yaml"), service("d")).unwrap();
    until(&mut follow, |g| has(g, "d")).await;
    fs::remove_file(folder.path().join("c.yaml")).unwrap();
    until(&mut follow, |g| !has(g, "c")).await;
}

#[tokio::test]
async fn a_single_file_is_followed_through_a_rename_over_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, service("a")).unwrap();
    let mut follow = start(options(&path)).unwrap();
    for name in ["b", "c"] {
        fs::write(folder.path().join("x"), service(name)).unwrap();
        fs::rename(folder.path().join("x"), &path).unwrap();
        until(&mut follow, |g| has(g, name)).await;
    }
}

#[tokio::test]
async fn what_is_prepared_can_be_built_again_without_an_edit() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), service("a")).unwrap();
    let mut options = options(folder.path());
    let again = options.again.clone();
    let mut calls = 0;
    options.prepare = Box::new(move |resources| {
        calls += 1;
        (resources.clone(), vec![Diagnostic::info("AM-TEST", format!("call {calls}"))])
    });
    let mut follow = start(options).unwrap();
    again.notify_one();
    let second = until(&mut follow, |g| g.diagnostics.iter().any(|d| d.message == "call 2")).await;
    assert!(!second.edited);
}

#[tokio::test]
async fn a_broken_mesh_config_keeps_the_last_good_one() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), service("a")).unwrap();
    let mesh = tempfile::tempdir().unwrap();
    let path = mesh.path().join("mesh.yaml");
    fs::write(&path, "rootNamespace: one\n").unwrap();
    let mut options = options(folder.path());
    options.mesh_config = Some(path.clone());
    let mut follow = start(options).unwrap();
    assert_eq!(&*follow.borrow().snapshot.mesh.root_namespace, "one");
    fs::write(&path, "rootNamespace: [\n").unwrap();
    let broken = until(&mut follow, |g| g.number == 2).await;
    assert_eq!(&*broken.snapshot.mesh.root_namespace, "one");
    assert!(broken.diagnostics.iter().any(|d| d.severity == Severity::Error));
    fs::write(&path, "rootNamespace: two\n").unwrap();
    until(&mut follow, |g| &*g.snapshot.mesh.root_namespace == "two").await;
}

/// As `mv shop old; mv new shop` does.
#[tokio::test]
async fn a_folder_that_is_put_in_the_place_of_another_is_followed() {
    let outside = tempfile::tempdir().unwrap();
    let shop = outside.path().join("shop");
    fs::create_dir(&shop).unwrap();
    fs::write(shop.join("a.yaml"), service("a")).unwrap();
    let mut follow = start(options(&shop)).unwrap();
    fs::create_dir(outside.path().join("new")).unwrap();
    fs::write(outside.path().join("new/a.yaml"), service("b")).unwrap();
    fs::rename(&shop, outside.path().join("old")).unwrap();
    fs::rename(outside.path().join("new"), &shop).unwrap();
    until(&mut follow, |g| has(g, "b") && !has(g, "a")).await;
    fs::write(shop.join("a.yaml"), service("c")).unwrap();
    until(&mut follow, |g| has(g, "c")).await;
}

/// As Kubernetes mounts a ConfigMap: the files are links through a link that is swapped.
#[tokio::test]
async fn what_a_link_leads_to_is_followed() {
    let outside = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("real.yaml"), service("a")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("real.yaml"), folder.path().join("a.yaml")).unwrap();
    let mut follow = start(options(folder.path())).unwrap();
    assert!(has(&follow.borrow(), "a"));
    fs::write(outside.path().join("real.yaml"), service("b")).unwrap();
    until(&mut follow, |g| has(g, "b")).await;
}

/// What is made of the objects is made of their last good versions.
#[tokio::test]
async fn a_broken_object_gives_way_before_anything_is_made_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, service("a")).unwrap();
    let mut options = options(folder.path());
    options.prepare = Box::new(|resources| {
        let broken = resources.iter().filter(|object| !object.errors.is_empty()).count();
        (resources.clone(), vec![Diagnostic::info("AM-TEST", format!("{broken} broken"))])
    });
    let mut follow = start(options).unwrap();
    fs::write(&path, service("a").replace("port: 80", "port: eighty")).unwrap();
    let broken = until(&mut follow, |g| g.diagnostics.iter().any(|d| d.severity == Severity::Error)).await;
    let says = |text: &str| broken.diagnostics.iter().any(|d| d.message.contains(text));
    assert!(says("0 broken") && says("stays at its last good version"), "{:?}", broken.diagnostics);
}

/// As a volume that comes back with the folders above it: none of them was there to be followed.
#[tokio::test]
async fn a_folder_that_goes_with_those_above_it_is_followed_when_it_is_back() {
    let outside = tempfile::tempdir().unwrap();
    let folder = outside.path().join("volume/shop/mesh");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("a.yaml"), service("a")).unwrap();
    let mut follow = start(options(&folder)).unwrap();
    fs::remove_dir_all(outside.path().join("volume")).unwrap();
    let away = until(&mut follow, |g| g.diagnostics.iter().any(|d| d.message.contains("goes on"))).await;
    assert!(has(&away, "a"));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("a.yaml"), service("b")).unwrap();
    until(&mut follow, |g| has(g, "b")).await;
}

#[tokio::test]
async fn conflicts_between_objects_are_found_and_gone_with_the_change_that_ends_them() {
    let folder = tempfile::tempdir().unwrap();
    let vs = |name: &str, host: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\n\
             spec: {{hosts: [{host}], http: [{{route: [{{destination: {{host: a}}}}]}}]}}\n"
        )
    };
    fs::write(folder.path().join("a.yaml"), service("a")).unwrap();
    fs::write(folder.path().join("one.yaml"), vs("one", "a")).unwrap();
    fs::write(folder.path().join("two.yaml"), vs("two", "a")).unwrap();
    let mut follow = start(options(folder.path())).unwrap();
    let conflicts = |g: &Generation| {
        let told = g.diagnostics.iter().filter(|d| d.code == amime_model::diagnostic::codes::MESH_HOST_TAKEN);
        told.map(|d| d.place.clone().expect("a place").file.to_string()).collect::<Vec<_>>()
    };
    let first = conflicts(&follow.borrow());
    assert!(matches!(first.as_slice(), [file] if file.ends_with("two.yaml")), "{first:?}");
    fs::write(folder.path().join("two.yaml"), vs("two", "b")).unwrap();
    until(&mut follow, |g| conflicts(g).is_empty()).await;
}
