package io.gatun.ops;

import static io.gatun.ops.RandomArguments.guarded;
import static io.gatun.ops.RandomArguments.spoiled;
import static io.gatun.ops.RandomArguments.withFreeStrides;

import io.gatun.DType;
import io.gatun.Shape;
import io.gatun.Tensor;
import io.gatun.ops.QMatmul.Activation;
import io.gatun.ops.QMatmul.Mode;
import io.gatun.ops.QMatmul.Options;
import java.lang.foreign.Arena;
import java.util.List;

/** The matrices and options of a random product, whatever the weights are, and flaws of them. */
abstract class RandomMatmul extends RandomCall {
    /** What {@link #spoilMatrices} knows: 0 and up. */
    static final int LAST_FLAW_OF_MATRICES = 7;

    int depth;
    int columns;
    int begin;
    int end;
    Guarded out;
    Tensor x;
    Tensor y;
    Options options;

    RandomMatmul(Random random) {
        super(random);
    }

    /** {@code biases}: rows of a bias matrix, or -1 for a vector. */
    final void draw(int rows, int ofX, int ofY, List<Mode> modes, int biases) {
        depth = ofX;
        columns = ofY;
        DType xType = random.of(DType.F32, DType.BF16);
        DType yType = random.of(DType.F32, DType.BF16);
        x = withFreeStrides(random, filled(xType, rows, depth).tensor);
        out = filled(yType, rows, columns);
        y = withFreeStrides(random, out.tensor);
        begin = random.chance(0.5) ? 0 : random.between(0, columns);
        end = random.chance(0.5) ? columns : random.between(begin, columns);
        options = Options.DEFAULT
                .withMode(mode(random, modes))
                .withActivation(random.of(Activation.values()))
                .withThreads(random.between(0, 3))
                .withColumns(begin, end);
        if (random.chance(0.5)) {
            options = options.withBias(
                    biases >= 0
                            ? Tensor.of(random.normal(biases * columns, 1), biases, columns)
                            : Tensor.of(random.normal(columns, 1), columns));
        }
        if (random.chance(0.5)) {
            options = options.withResidual(random.chance(0.3) ? y : filled(yType, rows, columns).tensor);
        }
    }

    /** One of the modes that weights take. */
    static Mode mode(Random random, List<Mode> modes) {
        return random.chance(0.2) ? Mode.AUTO : modes.get(random.between(0, modes.size() - 1));
    }

    private Guarded filled(DType dtype, int rows, int width) {
        return guarded(random, dtype, rows, width).fill(random.normal(rows * width, 1));
    }

    /** {@code biases}: the weights of a stack, of which each may have a bias. */
    final void spoilMatrices(int flaw, int biases) {
        long rows = y.shape().size(0);
        DType otherType = y.dtype() == DType.F32 ? DType.BF16 : DType.F32;
        switch (flaw) {
            case 0 -> x = spoiled(random, x, DType.F16, DType.I8, DType.I32);
            case 1 -> y = spoiled(random, y, DType.F16, DType.U8, DType.I32);
            case 2 -> y = Unreachable.readOnly(y);
            case 3 -> options = options.withColumns(begin, columns + 1L + random.between(0, 9));
            case 4 ->
                options = options.withBias(random.of(
                        Tensor.allocate(DType.F32, columns + 1),
                        Tensor.allocate(DType.F32, biases + 1, columns),
                        Tensor.allocate(DType.BF16, columns),
                        Unreachable.closed(DType.F32, columns),
                        Unreachable.foreign(DType.F32, columns),
                        Unreachable.foreign(DType.F32, biases, columns)));
            case 5 ->
                options = options.withResidual(random.of(
                        Tensor.allocate(y.dtype(), rows + 1, columns),
                        Tensor.allocate(otherType, rows, columns),
                        Unreachable.closed(y.dtype(), rows, columns)));
            case 6 -> {
                Shape larger = Shape.of(rows + 2, depth + 2);
                x = Tensor.wrap(Arena.ofAuto().allocate(4096, 4), x.dtype(), larger, random.of(0L, 1L), 1);
            }
            default -> options = null;
        }
    }

    @Override
    boolean unchanged() {
        return out.unchanged();
    }
}
