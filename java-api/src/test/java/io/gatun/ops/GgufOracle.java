package io.gatun.ops;

import java.util.Arrays;

/**
 * A block of a GGUF file read by its layout, element by element: value i = code * scale + offset. The layouts are those of
 * ggml: a half is little-endian, scales of 256-element blocks are packed as each type says.
 */
final class GgufOracle {
    static final int[] IQ4 = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    /** Twice the values of E2M1. */
    static final double[] E2M1 = {0, 1, 2, 3, 4, 6, 8, 12, -0., -1, -2, -3, -4, -6, -8, -12};

    final double[] codes;
    final float[] scales;
    final float[] offsets;

    private final byte[] bytes;
    private final int start;

    GgufOracle(GgufType type, byte[] bytes, int start) {
        this.bytes = bytes;
        this.start = start;
        codes = new double[type.elements()];
        scales = new float[type.elements()];
        offsets = new float[type.elements()];
        for (int i = 0; i < codes.length; i++) {
            switch (type) {
                case Q4_0 -> set(i, nibble(2, i) - 8, half(0), 0);
                case Q4_1 -> set(i, nibble(4, i), half(0), half(2));
                case Q5_0 -> set(i, nibble(6, i) + 16 * bit(2, i) - 16, half(0), 0);
                case Q5_1 -> set(i, nibble(8, i) + 16 * bit(4, i), half(0), half(2));
                case Q8_0 -> set(i, bytes[start + 2 + i], half(0), 0);
                case IQ4_NL -> set(i, IQ4[nibble(2, i)], half(0), 0);
                case MXFP4 -> set(i, E2M1[nibble(1, i)], Math.scalb(1f, u(0) - 128), 0);
                case Q2_K -> {
                    int s = u(i / 16);
                    set(i, twoBits(16, i), half(80) * (s & 15), -(half(82) * (s >> 4)));
                }
                case Q3_K -> {
                    int high = u(i % 32) >> i / 32 & 1;
                    set(i, twoBits(32, i) - (high == 1 ? 0 : 4), half(108) * scaleOfQ3K(i / 16), 0);
                }
                case Q4_K -> {
                    int j = i / 32;
                    set(i, nibbleOf64(16, i), half(0) * scaleOfQ4K(j), -(half(2) * minOfQ4K(j)));
                }
                case Q5_K -> {
                    int j = i / 32;
                    int high = u(16 + i % 32) >> j & 1;
                    set(i, nibbleOf64(48, i) + 16 * high, half(0) * scaleOfQ4K(j), -(half(2) * minOfQ4K(j)));
                }
                case Q6_K -> {
                    int l = i % 32;
                    int quarter = i % 128 / 32;
                    int low = u(i / 128 * 64 + quarter % 2 * 32 + l) >> quarter / 2 * 4 & 15;
                    int high = u(128 + i / 128 * 32 + l) >> quarter * 2 & 3;
                    set(i, (low | high << 4) - 32, half(208) * bytes[start + 192 + i / 16], 0);
                }
                case IQ4_XS -> {
                    int ib = i / 32;
                    int low = u(4 + ib / 2) >> 4 * (ib % 2) & 15;
                    int high = (u(2) | u(3) << 8) >> 2 * ib & 3;
                    int q = u(8 + ib * 16 + i % 16) >> i % 32 / 16 * 4 & 15;
                    set(i, IQ4[q], half(0) * ((low | high << 4) - 32), 0);
                }
            }
        }
    }

    private void set(int i, double code, float scale, float offset) {
        codes[i] = code;
        scales[i] = scale;
        offsets[i] = offset;
    }

    static boolean hasOffset(GgufType type) {
        return switch (type) {
            case Q4_1, Q5_1, Q2_K, Q4_K, Q5_K -> true;
            default -> false;
        };
    }

    private int u(int offset) {
        return bytes[start + offset] & 0xff;
    }

    private float half(int offset) {
        return Float.float16ToFloat((short) (u(offset) | u(offset + 1) << 8));
    }

    /** Of 16 bytes for 32 elements: the first 16 in the low halves. */
    private int nibble(int offset, int i) {
        return u(offset + i % 16) >> i / 16 * 4 & 15;
    }

    /** Of 32 bytes for 64 elements: the first 32 in the low halves. */
    private int nibbleOf64(int offset, int i) {
        return u(offset + i / 64 * 32 + i % 32) >> i % 64 / 32 * 4 & 15;
    }

    /** Of 32 bytes for 128 elements: 32 of them in each pair of bits. */
    private int twoBits(int offset, int i) {
        return u(offset + i / 128 * 32 + i % 32) >> i % 128 / 32 * 2 & 3;
    }

    private int bit(int offset, int i) {
        return u(offset + i / 8) >> i % 8 & 1;
    }

    private int scaleOfQ3K(int k) {
        int low = k < 8 ? u(96 + k) & 15 : u(96 + k - 8) >> 4;
        int high = u(96 + 8 + k % 4) >> k / 4 * 2 & 3;
        return (low | high << 4) - 32;
    }

    private int scaleOfQ4K(int j) {
        return j < 4 ? u(4 + j) & 63 : u(4 + j + 4) & 15 | u(4 + j - 4) >> 6 << 4;
    }

    private int minOfQ4K(int j) {
        return j < 4 ? u(4 + j + 4) & 63 : u(4 + j + 4) >> 4 | u(4 + j) >> 6 << 4;
    }

    // ---- quantization, of the types whose bytes are defined --------------------------------------------------------

    static final GgufType[] EXACT = {
        GgufType.Q4_0, GgufType.Q4_1, GgufType.Q5_0, GgufType.Q5_1, GgufType.Q8_0, GgufType.MXFP4
    };

    /** One block; x has its 32 elements. */
    static byte[] quantize(GgufType type, float[] x) {
        byte[] out = new byte[type.bytes()];
        float extreme = 0;
        float min = x[0];
        float max = x[0];
        for (float value : x) {
            extreme = Math.abs(value) > Math.abs(extreme) ? value : extreme;
            min = Math.min(min, value);
            max = Math.max(max, value);
        }
        switch (type) {
            case Q8_0 -> {
                float d = Math.abs(extreme) / 127;
                float id = d == 0 ? 0 : 1 / d;
                half(out, 0, d);
                for (int i = 0; i < 32; i++) {
                    float v = x[i] * id;
                    out[2 + i] = (byte) (Math.signum(v) * Math.floor(Math.abs((double) v) + 0.5));
                }
            }
            case MXFP4 -> {
                float amax = Math.abs(extreme);
                int e = amax == 0 ? 0 : Math.clamp(Math.getExponent((double) amax) - 2 + 127, 0, 254);
                out[0] = (byte) e;
                for (int i = 0; i < 32; i++) {
                    int best = 0;
                    for (int code = 1; code < 16; code++) {
                        double unit = Math.scalb(1.0, e - 128);
                        if (Math.abs(E2M1[code] * unit - x[i]) < Math.abs(E2M1[best] * unit - x[i])) {
                            best = code;
                        }
                    }
                    nibble(out, 1, i, best);
                }
            }
            default -> {
                boolean one = type == GgufType.Q4_1 || type == GgufType.Q5_1;
                int levels = type == GgufType.Q4_0 || type == GgufType.Q4_1 ? 15 : 31;
                float d = one ? (max - min) / levels : extreme / -((levels + 1) / 2);
                float id = d == 0 ? 0 : 1 / d;
                half(out, 0, d);
                if (one) {
                    half(out, 2, min);
                }
                int codes = out.length - 16;
                for (int i = 0; i < 32; i++) {
                    float v = one ? (x[i] - min) * id + 0.5f : x[i] * id + (levels / 2 + 1.5f);
                    int q = Math.min(levels, (int) v);
                    nibble(out, codes, i, q & 15);
                    if (levels == 31) {
                        out[codes - 4 + i / 8] |= (byte) (q >> 4 << i % 8);
                    }
                }
            }
        }
        return out;
    }

    private static void half(byte[] out, int offset, float value) {
        short pattern = Float.floatToFloat16(value);
        out[offset] = (byte) pattern;
        out[offset + 1] = (byte) (pattern >> 8);
    }

    private static void nibble(byte[] out, int offset, int i, int code) {
        out[offset + i % 16] |= (byte) (code << i / 16 * 4);
    }

    /** The relative RMS error of ggml's quantizers on 2^19 values of a normal distribution. */
    static double error(GgufType type) {
        return switch (type) {
            case Q2_K -> .2965;
            case Q3_K -> .1506;
            case Q4_K -> .0714;
            case Q5_K -> .0361;
            case Q6_K -> .0177;
            case IQ4_NL -> .0787;
            case IQ4_XS -> .0767;
            default -> throw new AssertionError(type + Arrays.toString(EXACT));
        };
    }
}
