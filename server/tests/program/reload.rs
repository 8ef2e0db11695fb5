//! SIGHUP where there is no gateway.

use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::desk::Desk;

struct Running {
    desk: Desk,
    child: Child,
}

impl Running {
    fn start(text: &str) -> Self {
        let desk = Desk::with(text);
        let log = File::create(desk.dir.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_kavadam"))
            .arg("--config")
            .arg(desk.config())
            .arg("run")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let running = Self { desk, child };
        running.until_it_says("kavadam runs");
        running
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.desk.dir.path().join("log")).unwrap()
    }

    fn until_it_says(&self, words: &str) {
        let begun = Instant::now();
        while !self.log().contains(words) {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "`{words}` is not in\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn reload(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[test]
fn a_centre_that_is_told_to_reload_says_what_takes_a_restart() {
    let udp = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let [auth, acct] = udp.each_ref().map(|socket| socket.local_addr().unwrap().port());
    let portal = tcp.local_addr().unwrap().port();
    drop((udp, tcp));
    let centre = Running::start(&format!(
        "role = \"centre\"\nsms.route = \"log-nothing\"\n\
         [radius]\nauth_listen = \"127.0.0.1:{auth}\"\nacct_listen = \"127.0.0.1:{acct}\"\n\
         [portal]\nlisten = \"127.0.0.1:{portal}\"\n"
    ));
    centre.reload();
    centre.until_it_says("the configuration can be used");
    assert!(!centre.log().contains("changed since the start"), "{}", centre.log());

    let text = std::fs::read_to_string(centre.desk.config()).unwrap();
    std::fs::write(centre.desk.config(), format!("{text}helpdesk = \"100\"\n")).unwrap();
    centre.reload();
    centre.until_it_says("have changed since the start: they take a restart");

    std::fs::write(centre.desk.config(), "colour = 7").unwrap();
    centre.reload();
    centre.until_it_says("was not taken, and the one before holds");
}
