package io.gatun.bench;

import io.gatun.Tensor;

/** Somebody else's implementation of {@code quantize}. */
public interface QuantizePeer {
    /** Without the version: {@code onnxruntime}. */
    String name();

    /** The version that runs: {@code 1.29.0}. */
    String version();

    /**
     * Set up for a case, or null if it has nothing for such a case.
     *
     * @param x f32, the values of the case
     */
    Contender prepare(QuantizeCase problem, Tensor x) throws Exception;
}
