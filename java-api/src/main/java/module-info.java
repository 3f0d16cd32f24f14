/** Quantized neural-network operations on native SIMD kernels. */
@SuppressWarnings("module") // io.gatun.cuda is built after this module.
module io.gatun {
    requires io.gatun.bindings;

    exports io.gatun;
    exports io.gatun.files;
    exports io.gatun.internal to
            io.gatun.cuda;
    exports io.gatun.ops;
}
