// Stacks of C++: virtual calls, templates, exceptions that pass through frames, standard algorithms, lambdas.
#include <algorithm>
#include <functional>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace road {

volatile int total;

struct Shape {
    virtual ~Shape() = default;
    virtual int area(int scale) const = 0;
};

struct Square : Shape {
    int side;
    explicit Square(int side) : side(side) {}
    __attribute__((noinline)) int area(int scale) const override { return side * side * scale + total; }
};

struct Circle : Shape {
    double radius;
    explicit Circle(double radius) : radius(radius) {}
    __attribute__((noinline)) int area(int scale) const override {
        if (scale % 7 == 3)
            throw std::runtime_error("too large");
        return static_cast<int>(radius * radius * 3) * scale;
    }
};

struct Guard {
    int &count;
    explicit Guard(int &count) : count(count) {}
    __attribute__((noinline)) ~Guard() { count++; total = total + 1; }
};

template <typename Row> __attribute__((noinline)) Row most(const std::vector<Row> &rows) {
    return *std::max_element(rows.begin(), rows.end(), [](const Row &one, const Row &other) {
        total = total + 1;
        return one < other;
    });
}

__attribute__((noinline)) int passed(const Shape &shape, int scale, int depth) {
    int count = 0;
    Guard guard(count);
    if (depth > 0)
        return passed(shape, scale, depth - 1) + 1;
    return shape.area(scale);
}

__attribute__((noinline)) int caught(const Shape &shape, int scale) {
    try {
        return passed(shape, scale, scale % 5);
    } catch (const std::exception &error) {
        return static_cast<int>(std::string(error.what()).size());
    }
}

__attribute__((noinline)) std::string written(int number) {
    std::ostringstream stream;
    stream << number << ' ' << number * 0.5;
    return stream.str();
}

} // namespace road

int main(int count, char **) {
    std::vector<std::unique_ptr<road::Shape>> shapes;
    shapes.push_back(std::make_unique<road::Square>(3));
    shapes.push_back(std::make_unique<road::Circle>(2.5));
    for (int round = 0; round < 1000 * count; round++) {
        int sum = 0;
        for (const auto &shape : shapes)
            sum += road::caught(*shape, round);
        std::vector<int> rows{sum, round, 3, 9, 1, 7};
        std::function<int(int)> added = [&](int one) { return one + road::most(rows); };
        std::sort(rows.begin(), rows.end(), [](int one, int other) { return one % 5 < other % 5; });
        std::vector<std::string> texts{road::written(round), "b", "a"};
        sum += added(sum) + static_cast<int>(road::most(texts).size());
        road::total = road::total + sum;
    }
    return road::total & 1;
}
