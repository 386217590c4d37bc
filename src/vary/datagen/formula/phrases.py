"""Sentences around formulas (at `@`), headings, names of theorems, captions, in English and Chinese."""

from __future__ import annotations

__all__ = ["AUTHORS", "CAPTIONS", "HEADINGS", "LEADS", "PHRASES", "PROOF", "THEOREMS"]

PHRASES = {
    "en": (
        "Let @ be given, and suppose that @ holds for every @.",
        "We write @ for the quantity introduced above, so that @.",
        "Since @, the claim follows from @ with the same constant @.",
        "Here @ denotes the parameter and @ its estimate.",
        "For sufficiently large @ we have @, which contradicts @.",
        "It remains to show that @.",
        "Assume that @ is bounded; then @ is bounded as well.",
        "By definition, @ if and only if @.",
        "The term @ vanishes when @, and the remainder is of order @.",
        "Choose @ such that @.",
        "If @, then @; otherwise @.",
        "The values of @ are listed for @ and compared with @.",
        "In what follows, @ and @ are fixed.",
        "A simple computation gives @, where @.",
        "We measured @ at a pressure of @ and a temperature of @.",
        "The complexity is @ in the worst case and @ on average.",
        "Replacing @ by @ does not change the result.",
        "(i) @ is closed; (ii) @ is compact; (iii) @.",
    ),
    "zh": (
        "设 @ 为给定的量，并且对任意 @ 都有 @ 成立。",
        "记 @ 为上文引入的量，则 @。",
        "由于 @，由 @ 即得结论，其中常数 @ 不变。",
        "其中 @ 表示参数，@ 为其估计值。",
        "当 @ 充分大时有 @，这与 @ 矛盾。",
        "只需证明 @。",
        "假设 @ 有界，则 @ 也有界。",
        "根据定义，@ 当且仅当 @。",
        "当 @ 时，@ 这一项为零，余项的阶为 @。",
        "取 @ 使得 @。",
        "若 @，则 @；否则 @。",
        "表中列出了 @ 在 @ 时的取值，并与 @ 作了比较。",
        "下文中 @ 与 @ 均保持不变。",
        "简单计算可得 @，其中 @。",
        "实验在压力 @、温度 @ 的条件下测得 @。",
        "最坏情形下复杂度为 @，平均为 @。",
        "将 @ 换成 @ 不影响结果。",
        "（一）@ 是闭集；（二）@ 是紧集；（三）@。",
    ),
}
"""Sentences, formulas of a line at `@`."""

LEADS = {
    "en": (
        "we obtain",
        "this gives the following identity:",
        "which can be written as",
        "the equation becomes",
        "it follows that",
        "finally we arrive at",
    ),
    "zh": ("由此可得", "整理后得到如下等式：", "也可以写成", "方程变为", "于是有", "最终得到"),
}
"""What leads to a displayed formula."""

HEADINGS = {
    "en": (
        *("Introduction", "Preliminaries", "Main Results", "Method", "Experiments", "Discussion", "Results"),
        *("Related Work", "Conclusion", "Notation", "Error Analysis", "Numerical Examples", "Setup", "Model"),
        *("Convergence", "Measurements", "Proof of the Main Theorem", "Limitations", "Data", "Background"),
        *("Existence and Uniqueness", "Boundary Conditions", "A Lower Bound", "Estimates", "Appendix"),
    ),
    "zh": (
        *(
            "引言",
            "预备知识",
            "主要结果",
            "方法",
            "实验",
            "讨论",
            "结果",
            "相关工作",
            "结论",
            "记号",
            "误差分析",
        ),
        *("数值算例", "实验设置", "模型", "收敛性", "测量", "主要定理的证明", "局限", "数据", "背景"),
        *("存在性与唯一性", "边界条件", "下界估计", "附录", "问题描述", "算法设计"),
    ),
}

THEOREMS = {
    "en": ("Theorem", "Lemma", "Proposition", "Corollary", "Definition", "Remark", "Example"),
    "zh": ("定理", "引理", "命题", "推论", "定义", "注", "例"),
}

PROOF = {"en": "Proof.", "zh": "证明"}

CAPTIONS = {
    "en": (
        *("Results of the comparison", "Parameters of the model", "Measured values and their errors"),
        *("Summary of the data", "Values of @ for different settings", "Costs by year and region"),
    ),
    "zh": (
        "对比实验的结果",
        "模型的参数",
        "测量值及其误差",
        "数据概况",
        "不同设置下 @ 的取值",
        "各年份各地区的成本",
    ),
}
"""Captions of tables, a formula at `@`."""

AUTHORS = {
    "en": (
        "A. Miller",
        "J. Novak",
        "L. Chen",
        "M. Rossi",
        "S. Ivanova",
        "K. Tanaka",
        "P. Dubois",
        "R. Singh",
    ),
    "zh": ("王小明", "李华", "张伟", "陈静", "刘洋", "赵敏", "孙丽", "周强"),
}
