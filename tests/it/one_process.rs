//! One process at a time owns a state folder; the next one is told who holds it.

use crate::host::World;
use crate::scenarios::BASE;
use crate::volatile::settled;

#[test]
fn a_state_folder_in_use_names_who_holds_it() {
    let world = World::new(BASE);
    let first = world.run(["models"]);
    assert_eq!((first.code, first.stderr.as_str()), (Some(0), ""));

    let lock = std::fs::File::open(world.path("state/lock")).unwrap();
    lock.lock().unwrap();
    let ended = world.run(["models"]);
    assert_eq!(ended.code, Some(1));
    let expected = "\
error: the state folder `state` is in use by process [pid]

hint: stop process [pid], or name another `folder` under `[state]`
";
    assert_eq!(settled(&ended.stderr, world.folder()), expected);

    drop(lock);
    assert_eq!(world.run(["models"]).code, Some(0), "the next run works");
}
