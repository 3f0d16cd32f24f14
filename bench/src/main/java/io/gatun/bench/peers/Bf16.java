package io.gatun.bench.peers;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** The upper half of an f32, as bits in a short. */
final class Bf16 {
    private Bf16() {}

    /** The nearest bf16 of a finite number, half to even. */
    static short of(float value) {
        int bits = Float.floatToRawIntBits(value);
        return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
    }

    static void copy(float[] values, MemorySegment target) {
        for (int i = 0; i < values.length; i++) {
            target.setAtIndex(ValueLayout.JAVA_SHORT, i, of(values[i]));
        }
    }

    static void copy(MemorySegment source, float[] values) {
        for (int i = 0; i < values.length; i++) {
            values[i] = Float.intBitsToFloat(source.getAtIndex(ValueLayout.JAVA_SHORT, i) << 16);
        }
    }
}
