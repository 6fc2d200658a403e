package plant

// Bugs of the judge, who names primaries and changes sets (PROTOCOLS.md, 3.5). No promise
// to clients hangs on it, only that partitions are served; its own tests find them.
const (
	JudgeOneSet      Bug = "judge-one-set"      // T1: the word of a majority of one set is enough
	JudgeOldWords    Bug = "judge-old-words"    // 3.5: words count however old they are
	JudgeLongestLog  Bug = "judge-longest-log"  // 3.5: the longest log is taken for the furthest
	JudgeNoCoolOff   Bug = "judge-no-cool-off"  // L2: a store whose disk hung is named at once
	JudgeUnspaced    Bug = "judge-unspaced"     // 3.5: changes of one partition are not spaced
	JudgeCalmAlways  Bug = "judge-calm-always"  // 3.5: the back-off ends while the partition is not served
	JudgeNeverDoubts Bug = "judge-never-doubts" // 3.5: a primary that is slow is taken for one that is dead
	JudgeUnready     Bug = "judge-unready"      // T2: learners enter before they keep up
	JudgeSpreadsEven Bug = "judge-spreads-even" // 3.5: primaries are moved though they are even
)

// Judge lists them.
func Judge() []Bug {
	return []Bug{JudgeOneSet, JudgeOldWords, JudgeLongestLog, JudgeNoCoolOff, JudgeUnspaced, JudgeCalmAlways, JudgeNeverDoubts, JudgeUnready,
		JudgeSpreadsEven}
}
