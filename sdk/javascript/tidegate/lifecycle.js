// From a class to an instance that the host configures once, first.

import { Failure, Issues, guarded } from "./failure.js";

/** The lifecycle of a plugin of class `Plugin`, and the one instance that it makes. */
export function hosted(Plugin) {
  let made;
  const plugin = () => made ?? fail();
  const lifecycle = {
    configure(text) {
      try {
        if (made) throw new Issues().push("", "the plugin was configured already");
        made = new Plugin(JSON.parse(text));
      } catch (error) {
        // An error of another kind is not about one key: it is told about the whole.
        throw error instanceof Issues ? error.list : [{ pointer: "", message: String(error) }];
      }
    },
    probe: guarded(() => plugin().probe?.()),
  };
  return { lifecycle, plugin };
}

function fail() {
  throw new Failure("the plugin was called before `configure`");
}
