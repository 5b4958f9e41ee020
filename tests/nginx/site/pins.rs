//! What the site files repeat of the code is what the code says.

use larder::archiver::media::MEDIA_TYPES;
use larder::http::Limits;
use larder::http::range::MAX_RANGES;
use larder::key::{BundleKey, Format, ObjectKind};
use larder::store::layout;
use std::collections::BTreeMap;
use std::path::Path;

const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

#[test]
fn the_two_sites_differ_in_where_larder_listens_and_in_what_they_say_of_it() {
    let (tcp, unix) = (site("larder.conf"), site("larder-unix.conf"));
    assert_eq!(tcp.lines().count(), unix.lines().count());
    let differing: Vec<_> = tcp
        .lines()
        .zip(unix.lines())
        .filter(|(a, b)| a != b && !(a.starts_with('#') && b.starts_with('#')))
        .map(|(a, b)| (a.trim(), b.trim()))
        .collect();
    assert_eq!(differing, [("server 127.0.0.1:8417;", "server unix:/run/larder.sock;")]);
    assert!(tcp.contains(&larder::config::Listen::default().to_string()), "it is where larder listens by default");
}

#[test]
fn an_id_without_an_extension_means_the_default_format_of_its_kind() {
    let table = block("map $larder_kind $larder_default_format");
    for kind in ObjectKind::ALL {
        let expected = kind.default_format().ext();
        let found = table.get(kind.as_str()).unwrap_or(&table["default"]);
        assert_eq!(found, expected, "{kind}");
    }
}

#[test]
fn every_format_has_its_media_type_and_its_caching_rule() {
    let (types, caching) = (block("types"), block("map $larder_format $larder_cache_control"));
    for format in Format::ALL {
        let last = format.ext().rsplit('.').next().unwrap();
        let media_type = types.iter().find(|(_, exts)| exts.split(' ').any(|ext| ext == last));
        let media_type = media_type.map_or("application/octet-stream", |(name, _)| name);
        assert_eq!(media_type, format.media_type(), "{format}");
        let rule = caching.get(format.ext()).unwrap_or(&caching["default"]);
        assert_eq!(rule.contains("immutable"), format.is_immutable(), "{format}");
    }
}

#[test]
fn a_content_may_be_asked_for_as_every_archive_that_larder_knows() {
    let site = site("larder.conf");
    let listed = site.split_once("(?<larder_wanted_type>").unwrap().1.split_once(')').unwrap().0;
    let known = MEDIA_TYPES.map(|known| known.strip_prefix("application/").unwrap());
    assert_eq!(listed.split('|').collect::<Vec<_>>(), known);
}

#[test]
fn every_kind_is_matched_and_has_its_swhid_type() {
    let types = block("map $larder_kind $larder_type");
    let matched = site("larder.conf");
    let matched = matched.split_once("(?<larder_kind>").unwrap().1.split_once(')').unwrap().0.to_owned();
    assert_eq!(matched.split('|').collect::<Vec<_>>(), ObjectKind::ALL.map(ObjectKind::as_str));
    for kind in ObjectKind::ALL {
        assert_eq!(types[kind.as_str()], kind.swhid_type());
    }
}

#[test]
fn a_bundle_lies_where_the_store_puts_it() {
    let (root, pattern) = (setting("root /var/lib"), setting("try_files"));
    assert_eq!(root, format!("/larder/bundles/{}", layout::VERSION));
    let pattern = pattern.split_once(' ').unwrap().0.to_owned();
    for kind in ObjectKind::ALL {
        for format in Format::ALL.into_iter().filter(|format| format.is_of(kind)) {
            let key = BundleKey::new(kind, ID.parse().unwrap(), format).unwrap();
            let path = [
                ("$larder_kind", kind.as_str()),
                ("$larder_aa", &ID[..2]),
                ("$larder_bb", &ID[2..4]),
                ("$larder_id", ID),
                ("$larder_format", format.ext()),
            ]
            .iter()
            .fold(pattern.clone(), |path, (name, value)| path.replace(name, value));
            assert_eq!(Path::new(path.trim_start_matches('/')), layout::relative_path(&key));
        }
    }
}

#[test]
fn a_bundle_of_the_api_lies_where_the_store_puts_it() {
    let (kinds, formats) = (
        block("map $larder_api_type:$larder_api_object $larder_api_kind"),
        block("map $larder_api_type $larder_api_format"),
    );
    let caching = block("map $larder_api_type $larder_api_cache_control");
    for (named, kind) in kinds.iter().filter(|(named, _)| *named != "default") {
        let (bundle, word) = named.split_once(':').unwrap();
        let kind: ObjectKind = kind.parse().unwrap();
        assert_eq!(word, kind.swhid_type());
        let format: Format = formats[bundle].parse().unwrap();
        let key = BundleKey::new(kind, ID.parse().unwrap(), format).unwrap();
        let path = format!("{kind}/{}/{}/{ID}.{}", &ID[..2], &ID[2..4], formats[bundle]);
        assert_eq!(Path::new(&path), layout::relative_path(&key));
        let rule = caching.get(bundle).unwrap_or(&caching["default"]);
        assert_eq!(rule.contains("immutable"), format.is_immutable(), "{format}");
    }
}

#[test]
fn the_limits_fit_those_of_larder() {
    let seconds = |name: &str| setting(name).trim_end_matches('s').parse::<u64>().unwrap();
    let limits = Limits::default();
    assert_eq!(setting("max_ranges"), MAX_RANGES.to_string());
    assert_eq!(setting("client_max_body_size"), format!("{}k", limits.body_bytes / 1024));
    assert!(seconds("keepalive_timeout") < limits.idle.as_secs(), "nginx closes a connection to larder first");
    assert!(seconds("proxy_read_timeout") > 60, "a wait of a minute is granted");
}

fn site(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("nginx").join(name)).unwrap()
}

/// The value of the first setting that begins with `name`.
fn setting(name: &str) -> String {
    let site = site("larder.conf");
    let line = site.lines().map(str::trim).find(|line| line.starts_with(name)).unwrap();
    line.strip_prefix(name).unwrap().trim().trim_end_matches(';').to_owned()
}

/// The lines `<word> <rest>;` of the block that begins with `head`.
fn block(head: &str) -> BTreeMap<String, String> {
    let site = site("larder.conf");
    let body = site.split_once(&format!("{head} {{")).unwrap().1.split_once('}').unwrap().0;
    body.lines()
        .filter_map(|line| line.trim().strip_suffix(';')?.split_once(' '))
        .map(|(word, rest)| (word.trim_matches('"').to_owned(), rest.trim().trim_matches('"').to_owned()))
        .collect()
}
