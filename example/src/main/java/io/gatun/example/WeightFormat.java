package io.gatun.example;

import io.gatun.ops.QMatmul.Mode;
import io.gatun.ops.QuantSpec;

/** The formats in which the demo holds the linear layers. */
enum WeightFormat {
    INT8("int8 per row", QuantSpec.int8()),
    INT4_G32("int4 g32", QuantSpec.int4(32)),
    INT4_G32_ZERO_POINT("int4 g32 + zero points", QuantSpec.int4Asymmetric(32)),
    INT4_G128("int4 g128", QuantSpec.int4(128)),
    INT4_G128_ZERO_POINT("int4 g128 + zero points", QuantSpec.int4Asymmetric(128));

    private final String label;
    private final QuantSpec spec;

    WeightFormat(String label, QuantSpec spec) {
        this.label = label;
        this.spec = spec;
    }

    String label() {
        return label;
    }

    /** Layers with activations in that mode. */
    LinearFormat in(Mode mode) {
        return (linear, activation) -> QuantizedLinear.pack(linear, spec, mode, activation);
    }
}
