package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.internal.Check;

/**
 * The scale of a tensor of 8-bit floats that follows its largest magnitudes: delayed scaling, as in training with FP8
 * (Micikevicius et al. 2022, "FP8 formats for deep learning"; the recipe of NVIDIA's Transformer Engine). The scale for
 * the next step comes from the last ones:
 *
 * <pre>
 *   scale = (largest of the last {@code history} amax) * 2^margin / (largest float of the codes)
 * </pre>
 *
 * so that a value is a code times the scale, as {@link QuantSpec#fp8} has it with {@link QuantSpec.ScaleRule#GIVEN}. An
 * amax of 0 leaves no scale to make, and the last one stays; one that is NaN or infinite, as after an overflow, is not
 * recorded. Not thread-safe.
 */
public final class DynamicScale {
    private final DType codes;
    private final int margin;
    private final float[] ring;
    private int next;
    private float scale = 1;

    /**
     * A scale of 1, and no amax yet.
     *
     * @param codes {@link DType#F8E4M3}, usual for activations and weights, or {@link DType#F8E5M2}, for gradients
     * @param history how many amax count, 1 for current scaling; the recipe's usual number is 1024
     * @param margin powers of two that stay free above the largest amax, 0 to 16
     */
    public DynamicScale(DType codes, int history, int margin) {
        Check.present("codes", codes);
        if (codes != DType.F8E4M3 && codes != DType.F8E5M2) {
            throw Check.invalid("codes", codes, "f8e4m3 or f8e5m2");
        }
        Check.range("history", history, 1, 1 << 20);
        Check.range("margin", margin, 0, 16);
        this.codes = codes;
        this.margin = margin;
        this.ring = new float[history];
    }

    /** The type of the codes. */
    public DType codes() {
        return codes;
    }

    /** The scale: a value is a code times this. */
    public float scale() {
        return scale;
    }

    /** Records the largest magnitude of a tensor, f32, f16 or bf16 [rows, columns], and updates the scale. */
    public void update(Tensor x) {
        update(Calibrate.amax(x));
    }

    /**
     * Records a largest magnitude and updates the scale. O(history).
     *
     * @param amax 0 or more; NaN or infinite for what has overflowed
     */
    public void update(float amax) {
        if (amax < 0) {
            throw Check.invalid("amax", amax, "0 or more");
        }
        if (!Float.isFinite(amax)) {
            return;
        }
        ring[next] = amax;
        next = (next + 1) % ring.length;
        float largest = 0;
        for (float recorded : ring) {
            largest = Math.max(largest, recorded);
        }
        // In double: neither the power of two nor a subnormal amax spoils the quotient before it is rounded.
        float made = (float) (Math.scalb((double) largest, margin) / codes.largest());
        if (made > 0 && Float.isFinite(made)) {
            scale = made;
        }
    }
}
