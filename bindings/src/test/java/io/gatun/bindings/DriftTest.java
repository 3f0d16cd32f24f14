package io.gatun.bindings;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.bindings.c.gatun_cuda_h;
import io.gatun.bindings.c.gatun_h;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The committed bindings say what the C headers say; regenerate them with bindings/jextract/generate.sh if not. */
class DriftTest {
    private static final Path HEADERS = Path.of("../native/include/gatun");
    private static final Path CUDA_HEADERS = Path.of("../cuda/include/gatun");
    private static final Path GENERATED = Path.of("src/generated/java/io/gatun/bindings/c");
    private static final String CUDA = "gatun_cuda_";

    private static String text;
    private static String cudaText;
    private static Set<String> javaStructs;
    private static Set<String> cudaStructs;

    /** The generated classes look functions up. */
    @BeforeAll
    static void readBothSides() throws IOException {
        NativeLibrary.load();
        CudaLibrary.load();
        text = textOf(HEADERS);
        cudaText = textOf(CUDA_HEADERS);
        List<String> names = files(GENERATED).stream()
                .map(file -> file.getFileName().toString().replace(".java", ""))
                .filter(name -> !name.endsWith("_h"))
                .toList();
        cudaStructs = names.stream().filter(name -> name.startsWith(CUDA)).collect(Collectors.toSet());
        javaStructs = names.stream().filter(name -> !name.startsWith(CUDA)).collect(Collectors.toSet());
    }

    private static String textOf(Path headers) throws IOException {
        StringBuilder all = new StringBuilder();
        for (Path header : files(headers)) {
            all.append(Files.readString(header)).append('\n');
        }
        return all.toString();
    }

    private static List<Path> files(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.sorted().toList();
        }
    }

    @Test
    void bindingsAgreeWithTheHeaders() throws ReflectiveOperationException {
        CHeader header = CHeader.parse(text);
        assertTrue(header.functions().size() >= 10, header.functions()::toString);
        assertTrue(header.structs().size() >= 4, header.structs()::toString);
        assertTrue(header.constants().size() >= 20, header.constants()::toString);
        assertEquals(List.of(), Drift.between(header, gatun_h.class, javaStructs));

        CHeader cuda = CHeader.parse(cudaText);
        assertTrue(cuda.functions().size() >= 16, cuda.functions()::toString);
        assertTrue(cuda.structs().size() >= 2, cuda.structs()::toString);
        assertEquals(List.of(), Drift.between(cuda, gatun_cuda_h.class, cudaStructs));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            gatun_set_threads()          | int32_t threads);                   | int64_t threads);
            gatun_threads()              | int32_t gatun_threads(              | int64_t gatun_threads(
            gatun_tier_name()            | const char* gatun_tier_name(        | int32_t gatun_tier_name(
            gatun_self_test()            | gatun_self_test(int32_t tier, char* | gatun_self_test(char* tier, int32_t
            gatun_norm()                 | const float* weight, const float* bias | const float* bias, const float* weight
            gatun_tier()                 | GATUN_API int32_t gatun_tier(void); | ''
            gatun_other()                | GATUN_API int32_t gatun_tier(void); | GATUN_API int32_t gatun_tier(void); \
                                                                        GATUN_API int32_t gatun_other(void);
            struct gatun_optimizer_params | float beta3;                       | float beta3; float gamma;
            struct gatun_norm_params     | int32_t kind;         /*            | int64_t kind;         /*
            struct gatun_nm_backward_params | int64_t dy_row_stride;          | int64_t row_stride;
            struct gatun_quantize_params | int64_t x_column_stride;            | int64_t x_column_stride; int64_t last;
            GATUN_UNSUPPORTED            | GATUN_UNSUPPORTED = 2               | GATUN_UNSUPPORTED = 5
            GATUN_F64                    | GATUN_U4 = 7                        | GATUN_U4 = 7, GATUN_F64 = 8
            """)
    void plantedDriftIsFound(String symbol, String before, String after) throws ReflectiveOperationException {
        assertTrue(text.contains(before), before);
        assertFound(symbol, Drift.between(CHeader.parse(text.replace(before, after)), gatun_h.class, javaStructs));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            gatun_cuda_device_count()    | int32_t* count);                    | int32_t* count, int32_t first);
            gatun_cuda_check_memory()    | int64_t bytes);                     | int32_t bytes);
            struct gatun_cuda_device     | int64_t l2_bytes;                   | int32_t l2_bytes;
            struct gatun_cuda_nm_faults  | int64_t block;                      | int64_t blocks;
            GATUN_CUDA_ABI_VERSION       | GATUN_CUDA_ABI_VERSION = 1          | GATUN_CUDA_ABI_VERSION = 9
            """)
    void plantedDriftOfCudaIsFound(String symbol, String before, String after) throws ReflectiveOperationException {
        assertTrue(cudaText.contains(before), before);
        // Only the first one: the same words end several prototypes.
        int at = cudaText.indexOf(before);
        String changed = cudaText.substring(0, at) + after + cudaText.substring(at + before.length());
        assertFound(symbol, Drift.between(CHeader.parse(changed), gatun_cuda_h.class, cudaStructs));
    }

    private static void assertFound(String symbol, List<String> differences) {
        assertEquals(1, differences.size(), differences::toString);
        assertTrue(differences.getFirst().startsWith(symbol + "\n"), differences::toString);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "int32_t threads); | long threads);",
                "int64_t capacity); | size_t capacity);",
                "int32_t kind; | int32_t kind : 4;",
                "GATUN_API int32_t gatun_tier(void); | GATUN_API int32_t gatun_tier(int32_t first, ...);",
            })
    void textOutsideTheGrammarIsRefused(String before, String after) {
        assertTrue(text.contains(before), before);
        assertThrows(IllegalArgumentException.class, () -> CHeader.parse(text.replace(before, after)));
    }
}
