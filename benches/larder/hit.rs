//! Hits beside nginx, on the same files with the same client (`wrk`), keep-alive, no TLS.

use super::common::server::Server;
use super::spread;
use crate::common::process::{Process, Start as _};
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

const ROUNDS: usize = 7;

/// 100 KiB and 200 MiB that do not compress.
pub(super) fn beside_nginx() {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let repository = folder.path().join("r.git");
    std::fs::create_dir(&repository).unwrap();
    super::common::git(&["init", "-q", "--bare", "."], &repository);
    let data = folder.path().join("data");
    let server = Server::start(&data, &[&repository], &[]);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _nginx = nginx(folder.path(), &data.join("bundles/v0"), port);
    println!("\nhits, larder/nginx requests a second: min / median / max ({ROUNDS} rounds in turn, wrk)");
    for (name, size, connections) in [("100 KiB", 98_000, 16), ("200 MiB", 200 << 20, 4)] {
        let tree = tree_of_noise(&repository, size);
        assert_eq!(server.cook(&format!("directory/{tree}"))["status"], "done");
        let ours = format!("http://{}/vault/directory/{tree}", server.address);
        let theirs = format!("http://127.0.0.1:{port}/directory/{}/{}/{tree}.tar.gz", &tree[..2], &tree[2..4]);
        let (mut ratios, mut rates) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let (nginx, larder) = (wrk(&theirs, connections), wrk(&ours, connections));
            if round > 0 {
                ratios.push(larder / nginx);
                rates.push(larder);
            }
        }
        println!("  {name}: {}   larder {:.0}/s", spread(&ratios), super::median(&rates));
    }
}

/// A tree with one file of `size` random bytes.
fn tree_of_noise(repository: &Path, size: usize) -> String {
    let mut noise = vec![0; size];
    getrandom::fill(&mut noise).unwrap();
    let blob = piped(repository, &["-c", "core.compression=0", "hash-object", "-w", "--stdin"], &noise);
    piped(repository, &["mktree"], format!("100644 blob {blob}\tnoise\n").as_bytes())
}

fn piped(repository: &Path, args: &[&str], input: &[u8]) -> String {
    let mut git =
        super::common::git_command(repository).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).start().unwrap();
    git.stdin.take().unwrap().write_all(input).unwrap();
    String::from_utf8(git.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

fn nginx(folder: &Path, root: &Path, port: u16) -> Process {
    let config = folder.join("nginx.conf");
    let (folder, root) = (folder.display(), root.display());
    let text = format!(
        "daemon off; worker_processes auto; pid {folder}/nginx.pid; error_log {folder}/error.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ sendfile on; tcp_nopush on; access_log off; keepalive_requests 1000000;\n\
         types {{ }} default_type application/gzip;\n\
         server {{ listen 127.0.0.1:{port}; root {root}; }} }}\n"
    );
    std::fs::write(&config, text).unwrap();
    let program = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
    let nginx = Command::new(program).arg("-c").arg(&config).stderr(Stdio::null()).start().expect("nginx can be run");
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    nginx
}

/// Requests a second.
fn wrk(url: &str, connections: u32) -> f64 {
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{connections}"), "-d3s", "--timeout", "30s", url])
        .output()
        .expect("wrk can be run");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("Non-2xx"), "{text}");
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:")).expect("wrk says the rate");
    rate.trim().parse().unwrap()
}
