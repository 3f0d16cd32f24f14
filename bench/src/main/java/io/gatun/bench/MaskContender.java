package io.gatun.bench;

import static io.gatun.bench.AttentionCase.BLOCK;
import static io.gatun.bench.AttentionCase.HEADS;

import io.gatun.DType;
import io.gatun.Gatun;
import io.gatun.Tensor;
import io.gatun.ops.BlockGrid;
import io.gatun.ops.BlockMask;
import java.lang.foreign.ValueLayout;

/** Gatun through its public API: a map of blocks to the lists that attention takes. The output is the map again. */
final class MaskContender extends RotatingContender implements Session.Verifier {
    private final byte[] map;
    private final Tensor blocks;
    private final BlockGrid grid;
    private BlockMask mask;

    MaskContender(AttentionCase problem, byte[] map) {
        super(
                Result.OURS + " " + Gatun.version(),
                "gatun_block_mask_from_map",
                "lists of a map, through the Java API",
                1);
        this.map = map;
        blocks = map(problem, map);
        grid = grid(problem);
    }

    static BlockGrid grid(AttentionCase problem) {
        return new BlockGrid(problem.length(), problem.length(), BLOCK, BLOCK);
    }

    /** [1, heads, blocks, blocks]. */
    static Tensor map(AttentionCase problem, byte[] map) {
        return Tensor.of(DType.U8, map, 1, HEADS, problem.blocks(), problem.blocks());
    }

    @Override
    protected void call(int copy) {
        mask = BlockMask.ofBlocks(grid, blocks);
    }

    @Override
    protected void result(float[] out) {
        copyMap(mask, out);
    }

    /** Fills [heads, blocks, blocks] with 0 where no block is, and 1. */
    static void copyMap(BlockMask mask, float[] out) {
        byte[] bytes = mask.toMap().segment().toArray(ValueLayout.JAVA_BYTE);
        for (int i = 0; i < bytes.length; i++) {
            out[i] = bytes[i];
        }
    }

    @Override
    public double relError(Contender contender) throws OutputCheck.WrongOutput {
        float[] lists = OutputCheck.outputOf(contender, map.length);
        for (int i = 0; i < map.length; i++) {
            if (lists[i] != map[i]) {
                throw new OutputCheck.WrongOutput(
                        contender.impl() + " is wrong: block " + i + " is " + lists[i] + ", expected " + map[i]);
            }
        }
        return 0;
    }

    @Override
    public void close() {} // what it holds is freed with it
}
