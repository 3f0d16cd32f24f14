/** Tensors on NVIDIA GPUs: devices, streams, events, pinned memory; the ops of io.gatun take them. */
module io.gatun.cuda {
    requires transitive io.gatun;
    requires io.gatun.bindings;
    requires org.bytedeco.cuda;
    requires org.bytedeco.javacpp;

    exports io.gatun.cuda;
}
