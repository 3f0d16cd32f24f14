package io.gatun.ops;

import io.gatun.DType;

/** A matrix in random blocks: which of them an element is in, counted from the definition. */
record RandomBlocks(int rows, int columns, QuantSpec.Blocks blocks) {
    int width() {
        return blocks.flat() ? rows * columns : columns;
    }

    int height() {
        return blocks.flat() ? Math.min(1, rows * columns) : rows;
    }

    int group() {
        return blocks.group() == 0 ? Math.max(1, width()) : (int) blocks.group();
    }

    int groupRows() {
        return blocks.rows() == 0 ? Math.max(1, height()) : (int) blocks.rows();
    }

    int across() {
        return (width() + group() - 1) / group();
    }

    int down() {
        return blocks.flat() ? 1 : (height() + groupRows() - 1) / groupRows();
    }

    int blockOf(int row, int column) {
        int r = blocks.flat() ? 0 : row;
        int k = blocks.flat() ? row * columns + column : column;
        return r / groupRows() * across() + k / group();
    }

    static RandomBlocks of(Random random, int rows, int columns) {
        boolean flat = random.chance(0.25);
        int group = random.chance(0.3) ? 0 : random.between(1, 40);
        int groupRows = flat ? 1 : random.of(0, 1, random.between(1, 12));
        return new RandomBlocks(rows, columns, new QuantSpec.Blocks(group, groupRows, flat));
    }

    @Override
    public String toString() {
        return "[" + rows + ", " + columns + "] " + blocks;
    }

    static DType floats(Random random) {
        return random.of(DType.F32, DType.F16, DType.BF16);
    }
}
