/** Quantized neural-network operations on native SIMD kernels. */
module io.gatun {
    requires io.gatun.bindings;

    exports io.gatun;
    exports io.gatun.files;
    exports io.gatun.ops;
}
