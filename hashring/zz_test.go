package hashring
import ("testing";"math/rand/v2";"fmt")
func TestSearch(t *testing.T){
 r:=rand.New(rand.NewPCG(1,2)); found:=0
 for range 60000 {
  n:=3+r.IntN(6); P:=2+r.IntN(12); R:=1+r.IntN(4); z:=1+r.IntN(4)
  var st []Store
  for i:=range n { zn:=""; if k:=r.IntN(z);k>0{zn=fmt.Sprint("z",k)}; st=append(st,storeOf(string(rune('a'+i)),zn)) }
  // random lists
  s:=&State{Version:9,Replicas:R,Stores:st,Cluster:sidOf("c")}
  for range P { p:=r.Perm(n); var l []SID; for _,i:=range p[:min(R,n)] {l=append(l,st[i].SID)}; s.Partitions=append(s.Partitions,Partition{Epoch:1,Replicas:l}) }
  w:=newPlanner(s); x:=r.IntN(n)
  slots:=w.handOver(x)
  if c:=w.chain(slots); c!=nil { found++; if found<=3 && P<=6 { fmt.Println(n,P,R,z,st[x].Node, len(c)); for _,p:=range s.Partitions {fmt.Println(s.names(p.Replicas))}; for _,q:=range st {fmt.Print(q.Node,"/",q.Zone," ")}; fmt.Println() } }
 }
 fmt.Println("found",found)
}
