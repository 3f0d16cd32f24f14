/** The C interface of Gatun and the loader of its native library, for the modules of Gatun itself. */
@SuppressWarnings("module") // io.gatun is built after this module.
module io.gatun.bindings {
    exports io.gatun.bindings to
            io.gatun;
    exports io.gatun.bindings.c to
            io.gatun;
}
