/** The C interface of Gatun and the loader of its native libraries, for the modules of Gatun itself. */
@SuppressWarnings("module") // They are built after this module.
module io.gatun.bindings {
    exports io.gatun.bindings to
            io.gatun,
            io.gatun.cuda;
    exports io.gatun.bindings.c to
            io.gatun,
            io.gatun.cuda;
}
