// Work of two streams at the same time, and work that a graph has captured.
#include <algorithm>
#include <string>
#include <thread>

#include "gpu.h"

namespace gatun::test {
namespace {

// Shapes of all kinds of kernels: few rows, several, many; a depth with a tail, one without.
struct Shape {
  int64_t rows, columns, depth;
};
constexpr Shape kShapes[] = {{1, 512, 1024}, {7, 300, 333}, {64, 256, 512}, {300, 384, 640}};
constexpr int32_t kModes[] = {GATUN_QMATMUL_BF16, GATUN_QMATMUL_INT8_ROW};

TEST(Streams, QuantizeOnTwoAtOnce) {
  Stream streams[2];
  Quantization first(257, 1024, 1), second(511, 640, 2);
  for (int round = 0; round < 20; ++round) {
    first.change(100 + static_cast<uint64_t>(round));
    second.change(200 + static_cast<uint64_t>(round));
    for (int again = 0; again < 5; ++again) {
      ASSERT_EQ(first.run(streams[0].get()), GATUN_OK) << gatun_cuda_last_error();
      ASSERT_EQ(second.run(streams[1].get()), GATUN_OK) << gatun_cuda_last_error();
    }
    streams[0].wait();
    streams[1].wait();
    ASSERT_TRUE(first.right()) << "round " << round;
    ASSERT_TRUE(second.right()) << "round " << round;
  }
}

TEST(Streams, ProductsOnTwoAtOnce) {
  Stream streams[2];
  for (const Shape& shape : kShapes) {
    for (const int32_t mode : kModes) {
      SCOPED_TRACE(testing::Message() << shape.rows << " x " << shape.columns << " x " << shape.depth << ", mode "
                                      << mode);
      Product products[2] = {{shape.rows, shape.columns, shape.depth, mode, 1},
                             {shape.rows, shape.columns, shape.depth, mode, 2}};
      std::vector<float> alone[2];
      for (int i = 0; i < 2; ++i) {
        ASSERT_EQ(products[i].run(nullptr), GATUN_OK) << gatun_cuda_last_error();
        alone[i] = products[i].result();
        if (mode == GATUN_QMATMUL_BF16) {
          ASSERT_TRUE(products[i].right());
        }
      }
      EXPECT_NE(alone[0], alone[1]);
      for (int round = 0; round < 10; ++round) {
        for (Product& product : products) product.forget();
        for (int again = 0; again < 5; ++again) {
          for (int i = 0; i < 2; ++i) {
            ASSERT_EQ(products[i].run(streams[i].get()), GATUN_OK) << gatun_cuda_last_error();
          }
        }
        for (const Stream& stream : streams) stream.wait();
        for (int i = 0; i < 2; ++i) ASSERT_EQ(products[i].result(), alone[i]) << "round " << round;
      }
    }
  }
}

// Launches of one kernel with less and with more shared memory, by threads that know nothing of each other.
TEST(Streams, ProductsOfTwoThreads) {
  const int64_t rows[][2] = {{1, 16}, {65, 300}};
  for (const auto& pair : rows) {
    for (const int32_t mode : kModes) {
      SCOPED_TRACE(testing::Message() << pair[0] << " and " << pair[1] << " rows, mode " << mode);
      Stream streams[2];
      Product products[2] = {{pair[0], 512, 4096, mode, 1}, {pair[1], 512, 4096, mode, 2}};
      std::vector<float> alone[2];
      for (int i = 0; i < 2; ++i) {
        ASSERT_EQ(products[i].run(nullptr), GATUN_OK) << gatun_cuda_last_error();
        alone[i] = products[i].result();
        products[i].forget();
      }
      std::string errors[2];
      std::vector<std::thread> threads;
      for (int i = 0; i < 2; ++i) {
        threads.emplace_back([&, i] {
          for (int round = 0; round < 200 && errors[i].empty(); ++round) {
            if (products[i].run(streams[i].get()) != GATUN_OK) errors[i] = gatun_cuda_last_error();
          }
          streams[i].wait();
        });
      }
      for (std::thread& thread : threads) thread.join();
      for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(errors[i], "");
        EXPECT_EQ(products[i].result(), alone[i]);
      }
    }
  }
}

// A stream that does not wait for the one beside it is not waited for, either: a call returns while work before it
// still runs.
TEST(Streams, ACallDoesNotWaitForItsWork) {
  Stream stream;
  Quantization large(4096, 4096, 3);
  cudaEvent_t done = nullptr;
  GATUN_EXPECT_CUDA(cudaEventCreateWithFlags(&done, cudaEventDisableTiming));
  for (int i = 0; i < 200; ++i) ASSERT_EQ(large.run(stream.get()), GATUN_OK) << gatun_cuda_last_error();
  GATUN_EXPECT_CUDA(cudaEventRecord(done, stream.get()));
  EXPECT_EQ(cudaEventQuery(done), cudaErrorNotReady);
  stream.wait();
  EXPECT_EQ(cudaEventQuery(done), cudaSuccess);
  GATUN_EXPECT_CUDA(cudaEventDestroy(done));
}

// What `put` puts on a stream, as a graph.
class Graph {
 public:
  template <class Put>
  explicit Graph(Put put) {
    // The strictest mode: no thread may do what would break a capture.
    GATUN_EXPECT_CUDA(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeGlobal));
    EXPECT_EQ(put(stream_.get()), GATUN_OK) << gatun_cuda_last_error();
    cudaGraph_t graph = nullptr;
    GATUN_EXPECT_CUDA(cudaStreamEndCapture(stream_.get(), &graph));
    if (graph == nullptr) return;
    GATUN_EXPECT_CUDA(cudaGraphInstantiate(&graph_, graph, 0));
    GATUN_EXPECT_CUDA(cudaGraphDestroy(graph));
  }
  ~Graph() {
    if (graph_ == nullptr) return;
    GATUN_EXPECT_CUDA(cudaGraphExecDestroy(graph_));
  }
  void replay() {
    ASSERT_NE(graph_, nullptr);
    GATUN_EXPECT_CUDA(cudaGraphLaunch(graph_, stream_.get()));
    stream_.wait();
  }

 private:
  Stream stream_;
  cudaGraphExec_t graph_ = nullptr;
};

TEST(Graphs, QuantizeIsCapturedAndReplayed) {
  Quantization quantization(300, 1000, 5);
  Graph graph([&](void* stream) { return quantization.run(stream); });
  for (uint64_t seed = 0; seed < 3; ++seed) {
    quantization.change(seed);
    graph.replay();
    EXPECT_TRUE(quantization.right()) << "seed " << seed;
  }
}

TEST(Graphs, ProductsAreCapturedAndReplayed) {
  for (const Shape& shape : kShapes) {
    for (const int32_t mode : kModes) {
      SCOPED_TRACE(testing::Message() << shape.rows << " x " << shape.columns << " x " << shape.depth << ", mode "
                                      << mode);
      Product product(shape.rows, shape.columns, shape.depth, mode, 7);
      Graph graph([&](void* stream) { return product.run(stream); });
      for (uint64_t seed = 10; seed < 12; ++seed) {
        product.change(seed);
        ASSERT_EQ(product.run(nullptr), GATUN_OK) << gatun_cuda_last_error();
        const std::vector<float> direct = product.result();
        product.forget();
        graph.replay();
        EXPECT_EQ(product.result(), direct);
        if (mode == GATUN_QMATMUL_BF16) {
          EXPECT_TRUE(product.right());
        }
      }
    }
  }
}

// A whole layer as one graph: quantize its input's weights, pack them, multiply.
TEST(Graphs, SeveralOpsAreOneGraph) {
  Quantization quantization(256, 512, 8);
  Product product(16, 256, 512, GATUN_QMATMUL_BF16, 9);
  Graph graph([&](void* stream) {
    const int32_t status = quantization.run(stream);
    return status != GATUN_OK ? status : product.run(stream);
  });
  quantization.change(20);
  product.change(21);
  graph.replay();
  EXPECT_TRUE(quantization.right());
  EXPECT_TRUE(product.right());
}

}  // namespace
}  // namespace gatun::test
