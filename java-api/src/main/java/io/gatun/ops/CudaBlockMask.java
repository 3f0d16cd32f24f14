package io.gatun.ops;

import static io.gatun.bindings.c.gatun_cuda_h.gatun_cuda_block_mask_from_map;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.gatun.DType;
import io.gatun.Device;
import io.gatun.DeviceStream;
import io.gatun.Tensor;
import io.gatun.ops.BlockMask.Parts;
import java.lang.foreign.MemorySegment;

/**
 * Lists of blocks that an NVIDIA GPU has made, or is about to make; how long they are only it knows.
 *
 * @param rows of the map
 * @param fullOffsets the bytes of i64 [rows + 1]
 * @param fullBlocks the bytes of i32, with room for all blocks of the map
 * @param partialOffsets as those of full blocks
 * @param partialBlocks likewise, or null if there are none
 */
record CudaBlockMask(long rows, Tensor fullOffsets, Tensor fullBlocks, Tensor partialOffsets, Tensor partialBlocks) {
    /**
     * Of a byte for each block, 1 full, 2 partial, all else absent.
     *
     * @param map contiguous [..., key blocks]
     */
    static BlockMask ofMap(BlockGrid grid, long batch, long heads, Tensor map, boolean partials) {
        long rows = MaskBuilder.rowsOf(grid, batch, heads);
        long blocks = rows * grid.keyBlocks();
        Device device = map.device();
        CudaBlockMask lists = new CudaBlockMask(
                rows,
                bytes(device, JAVA_LONG.byteSize() * (rows + 1)),
                bytes(device, JAVA_INT.byteSize() * blocks),
                bytes(device, JAVA_LONG.byteSize() * (rows + 1)),
                partials ? bytes(device, JAVA_INT.byteSize() * blocks) : null);
        DeviceStream stream = device.stream();
        CudaCall.queue(
                stream,
                () -> gatun_cuda_block_mask_from_map(
                        rows,
                        grid.keyBlocks(),
                        map.pointer(),
                        lists.fullOffsets.pointer(),
                        lists.fullBlocks.pointer(),
                        lists.fullRoom(),
                        lists.partialOffsets.pointer(),
                        partials ? lists.partialBlocks.pointer() : MemorySegment.NULL,
                        lists.partialRoom(),
                        stream.handle()));
        return new BlockMask(grid, batch, heads, MaskMemory.of(lists));
    }

    private static Tensor bytes(Device device, long bytes) {
        return device.allocate(DType.U8, bytes);
    }

    Device device() {
        return fullOffsets.device();
    }

    long fullRoom() {
        return fullBlocks.byteSize() / JAVA_INT.byteSize();
    }

    long partialRoom() {
        return partialBlocks == null ? 0 : partialBlocks.byteSize() / JAVA_INT.byteSize();
    }

    Parts arguments() {
        return new Parts(
                fullOffsets.pointer(),
                fullBlocks.pointer(),
                partialOffsets.pointer(),
                partialBlocks == null ? MemorySegment.NULL : partialBlocks.pointer(),
                null);
    }

    /** Waits for the device. */
    Parts toHost() {
        MemorySegment full = fullOffsets.to(Device.CPU).segment();
        MemorySegment partial = partialOffsets.to(Device.CPU).segment();
        return new Parts(full, blocks(full, fullBlocks), partial, blocks(partial, partialBlocks), null);
    }

    private MemorySegment blocks(MemorySegment offsets, Tensor blocks) {
        long bytes = JAVA_INT.byteSize() * offsets.getAtIndex(JAVA_LONG, rows);
        return blocks == null
                ? MaskBuilder.allocate(0)
                : blocks.slice(0, 0, bytes).to(Device.CPU).segment();
    }
}
