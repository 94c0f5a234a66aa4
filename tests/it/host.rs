//! The binary under test, and a world for it: a folder with settings, rows, plugins and state.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// Plugins that every world has.
const SHIPPED: [&str; 14] = [
    "classification",
    "csv",
    "dedup",
    "http",
    "jsonl",
    "latency",
    "log",
    "missing",
    "range",
    "ranking",
    "regression",
    "text",
    "tokens",
    "webhook",
];
/// Guests that a world has when it asks for them.
const GUESTS: [&str; 5] = ["endless-cleaner", "hostile-alerter", "hostile-cleaner", "hostile-evaluator", "hostile-source"];

/// Where the built things are.
pub struct Built {
    /// The binary.
    pub tidegate: PathBuf,
    /// The shipped plugins.
    pub plugins: PathBuf,
    /// Guests that only tests load.
    pub guests: PathBuf,
}

/// The folder of this package, as cargo says when it runs the tests: checkouts that share a target folder share this binary.
pub fn own_folder() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests").into()
}

/// The built things; panics with the command that makes what is missing.
pub fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| {
        let own_folder = own_folder();
        let root = own_folder.parent().unwrap();
        // This test is `<target>/debug/deps/it-…`, wherever cargo was told to build.
        let own = std::env::current_exe().unwrap();
        let target = own.ancestors().nth(3).unwrap();
        let place =
            |variable: &str, fallback: &str| std::env::var_os(variable).map_or_else(|| target.join(fallback), |path| root.join(path));
        let built = Built {
            tidegate: place("TIDEGATE_BIN", &format!("debug/tidegate{}", std::env::consts::EXE_SUFFIX)),
            plugins: place("TIDEGATE_PLUGINS", "plugins"),
            guests: place("TIDEGATE_TEST_GUESTS", "test-guests"),
        };
        let tidegate = &built.tidegate;
        assert!(tidegate.is_file(), "there is no `{}`; `cargo build -p tidegate-cli` makes it", tidegate.display());
        let shipped = SHIPPED.iter().map(|name| built.plugins.join(format!("{name}.wasm")));
        for plugin in shipped.chain(GUESTS.iter().map(|name| built.guests.join(format!("{name}.wasm")))) {
            assert!(plugin.is_file(), "there is no `{}`; `cargo xtask plugins` makes it", plugin.display());
        }
        built
    })
}

/// A folder in which `tidegate` runs; it goes when the value does.
pub struct World {
    folder: tempfile::TempDir,
}

impl World {
    /// A world with `settings`, the shipped plugins and a state folder in which they are compiled already.
    pub fn new(settings: &str) -> World {
        let world = World::cold(settings);
        warm(&world.path("state"));
        world
    }

    /// The same with nothing compiled.
    pub fn cold(settings: &str) -> World {
        let world = World { folder: tempfile::tempdir().unwrap() };
        world.write("tidegate.toml", settings);
        std::fs::create_dir(world.path("plugins")).unwrap();
        for name in SHIPPED {
            world.link(name, &built().plugins);
        }
        world
    }

    /// Locks the plugins that its settings use, as an operator does who has looked at what they were lent.
    pub fn lock(self) -> World {
        let locked = self.run(["plugin", "lock"]);
        assert_eq!(locked.code, Some(0), "{}", locked.stderr);
        self
    }

    /// Adds a guest that is not shipped.
    pub fn add_guest(&self, name: &str) {
        self.link(name, &built().guests);
    }

    /// Adds a shipped plugin that not every world has: those in other languages than Rust take seconds to compile.
    pub fn add_shipped(&self, name: &str) {
        self.link(name, &built().plugins);
    }

    fn link(&self, name: &str, from: &Path) {
        let file = format!("{name}.wasm");
        std::os::unix::fs::symlink(from.join(&file), self.path("plugins").join(&file)).unwrap();
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Puts a copy in the place of a link: plugins are links to what every test uses.
    pub fn make_own(&self, name: &str) {
        let path = self.path(name);
        if path.is_symlink() {
            let bytes = std::fs::read(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, bytes).unwrap();
        }
    }

    /// Writes a file, over the one that is there.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        self.make_own(name);
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// The command `tidegate ARGUMENTS` in this folder, with nothing of the surroundings that could change what it prints.
    pub fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(&built().tidegate);
        self.settle(&mut command);
        command.args(arguments).args(["--no-progress", "--color", "never"]);
        command
    }

    /// Gives any command the folder and the bare environment of a test.
    pub fn settle(&self, command: &mut Command) {
        command.current_dir(self.folder()).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("USER", "tester").env("TMPDIR", std::env::temp_dir()).stdin(Stdio::null());
    }

    /// Runs `tidegate ARGUMENTS` to its end.
    pub fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Ended {
        Ended::of(self.command(arguments).output().unwrap())
    }

    /// Runs `tidegate ARGUMENTS --json`, which must end well, and reads what it printed.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let ended = self.run(arguments.iter().copied().chain(["--json"]));
        assert_eq!(ended.code, Some(0), "`tidegate {}` failed: {}", arguments.join(" "), ended.stderr);
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("`{}` is not JSON: {error}", ended.stdout))
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said beside.
    pub stderr: String,
}

impl Ended {
    /// Takes apart what a process left.
    pub fn of(output: Output) -> Ended {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("tidegate prints UTF-8 only");
        Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Fills a state folder with the key and the compiled plugins of a template that is made once a test process. Compiling is tested on
/// its own; doing it in every world would take longer than all the tests.
fn warm(state: &Path) {
    static TEMPLATE: OnceLock<World> = OnceLock::new();
    let template = TEMPLATE.get_or_init(|| {
        let world = World::cold(crate::scenarios::BASE);
        GUESTS.iter().for_each(|name| world.add_guest(name));
        let ended = world.run(["plugin", "list"]);
        assert_eq!(ended.code, Some(0), "the plugins could not be compiled: {}", ended.stderr);
        world
    });
    let compiled = template.path("state/compiled");
    std::fs::create_dir_all(state.join("compiled")).unwrap();
    copy(&template.path("state/key"), &state.join("key"));
    for entry in compiled.read_dir().unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            copy(&entry.path(), &state.join("compiled").join(entry.file_name()));
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap_or_else(|error| panic!("could not copy `{}` to `{}`: {error}", from.display(), to.display()));
}
