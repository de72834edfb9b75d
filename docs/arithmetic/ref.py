"""Normative reference for the integer contract (arithmetic.md). Python integers only; no floats anywhere below.
Written from arithmetic.md, and a second implementation in C agreed bit for bit."""
import json, pathlib, numpy as np
LUT=json.load(open(pathlib.Path(__file__).parents[2]/'tests'/'vectors'/'luts.json'))
SF=5; PTOP=127
def rshr(x,s): return x<<(-s) if s<=0 else (x+(1<<(s-1)))>>s
def sat(x,b): return max(-(1<<(b-1)),min((1<<(b-1))-1,x))
RC={8:128,7:146,6:171,5:205}
def bfp(x,b=8,quarter=True):
    """-> mantissas, e, mu ; value = m * 2^e * mu/8; mu is 8 unless quarter"""
    mx=max((~v if v<0 else v) for v in x); top=(1<<(b-1))-1; e=max(0,mx.bit_length()-(b-1)); mu=8
    if quarter and e>0:
        for c in (5,6,7):
            if 8*mx<=c*(top<<e): mu=c; break
    return [max(-top-1,min(top,rshr(v*RC[mu],7+e))) for v in x],e,mu
def block(x):
    """A vector between steps (residual, ao, h): power-of-two scale only, so reading it back is a shift."""
    return bfp(x,8,False)
def rsqrt(t):
    """-> R,k : 1/sqrt(t) ~ R*2^-(15+k)"""
    k=(t.bit_length()-1)>>1; s=2*k-14; u=t>>s if s>=0 else t<<-s; i,f=u>>10,u&1023; T=LUT['rsqrt']; return T[i]-(((T[i]-T[i+1])*f+512)>>10),k
def recip(Z):
    """-> r,z : 1/Z ~ r*2^-(16+z)"""
    z=Z.bit_length()-1; u=Z>>(z-15) if z>=15 else Z<<(15-z); x=u&0x7fff; i,f=x>>10,x&1023; T=LUT['recip']; return T[i]-(((T[i]-T[i+1])*f+512)>>10),z
def sin(ph):
    q,x=ph>>30,ph&0x3fffffff
    if q&1: x=0x40000000-x
    i,f=x>>24,(x>>16)&255; T=LUT['sin']; v=T[i] if i==64 else T[i]+(((T[i+1]-T[i])*f+128)>>8); return -v if q>=2 else v
def sigmoid(g,FG):
    a=abs(g); sh=FG-2; i,f=a>>sh,a&((1<<sh)-1); T=LUT['sigmoid']
    s=T[32] if i>=32 else T[i]+(((T[i+1]-T[i])*f+(1<<(sh-1)))>>sh)
    return 65536-s if g<0 else s
def exp2p(d):
    n,f=d>>SF,d&((1<<SF)-1); return 0 if n>15 else rshr(LUT['exp2'][f],n+9)
def had(x):
    x=list(x); s=1
    while s<len(x):
        for i in range(0,len(x),2*s):
            for j in range(i,i+s): x[j],x[j+s]=x[j]+x[j+s],x[j]-x[j+s]
        s*=2
    return x
class Mat:
    def __init__(s,z,n):
        s.w=z[n+'.w'].astype(np.int64); s.s=[int(v) for v in z[n+'.s']]; s.mu=[int(v) for v in z[n+'.mu']]; s.g=None
        if n+'.gsh' in z: s.g=(z[n+'.gsh'].astype(np.int64),z[n+'.gmu'].astype(np.int64)); s.gs=-(-s.w.shape[1]//s.g[0].shape[1]); s.gs=16 if s.gs<=16 else 32
    def acc(s,m):
        m=np.array(m,np.int64)
        if s.g is None: return [int(v) for v in s.w@m]
        o,n=s.w.shape; ng=s.g[0].shape[1]; p=np.zeros((o,ng*s.gs),np.int64); p[:,:n]=s.w*m; return [int(v) for v in ((p.reshape(o,ng,s.gs).sum(2)*s.g[1])<<s.g[0]).sum(1)]
class Core:
    def __init__(s,path,W,S=0,bk=8):
        z=np.load(path); s.z=z; s.h=json.loads(bytes(z['hdr']).decode()); s.__dict__.update(s.h); s.W,s.S,s.bk=W,S,bk
        s.M={n[:-2]:Mat(z,n[:-2]) for n in z.files if n.endswith('.w')}; s.ring=[dict() for _ in range(s.L)]; s.t=0
        if s.rope: s.inc=[int(v) for v in z['inc']]
        if s.degain: s.ig=[int(v) for v in z['ig']]
    def matvec(s,M,m,e,mu,F,R=32768,k=0,xF=0,bits=16):
        A=M.acc(m); out=[]
        gx=3 if M.g is not None else 0
        for a,sh,mr in zip(A,M.s,M.mu):
            assert -(1<<31)<=a<(1<<31)
            M16=rshr(R*mu*mr,6); v=rshr(a*M16,15+k+sh-e-F+xF+gx); out.append(sat(v,bits) if bits else v)
        return out
    def ropev(s,x,pos):
        hd=s.hd
        for c in range(hd//2):
            ph=(pos*s.inc[c])&0xffffffff; si=sin(ph); co=sin((ph+0x40000000)&0xffffffff)
            for i in range(2*c,len(x),hd): a,b=x[i],x[i+1]; x[i]=sat(rshr(a*co-b*si,14),16); x[i+1]=sat(rshr(a*si+b*co,14),16)
        return x
    def norm(s,x): return rsqrt(sum(v*v for v in x)+s.EPS)
    def attn(s,l,q,qs,kvh,head):
        hd=s.hd; R=s.ring[l]; g=(lambda y:had(y)) if s.rot_ else (lambda y:list(y)); Q=bfp(g(q)); QS=bfp(g(qs)) if qs else None; sc={}
        for j,(kk,vv) in R.items():
            m,e,mu=QS if (qs and j<s.S) else Q; km,ke,kmu=kk[kvh]; d=sum(a*b for a,b in zip(m,km))
            sh=s.FQ[l]+s.FK[l]-SF+6+(hd.bit_length()-1 if s.rot_ else 0)-e-ke; sc[j]=sat(rshr(d*mu*kmu,sh),16)
        mx=max(sc.values()); Z=0; acc=[0]*hd
        for j,v in sc.items():
            p=exp2p(mx-v); Z+=p; vm=R[j][1][kvh]
            for c in range(hd): acc[c]+=p*vm[c]
        r,z=recip(Z); return [sat(rshr(a*rshr(r,1),z+7),16) for a in acc],sc,Z
    def step(s,tok,pos=None,want=False):
        D,hd,L=s.D,s.hd,s.L; s.rot_=s.h['rot']; t=s.t; pos=t if pos is None else pos; M=s.M; tr={}
        if s.degain: C=M['cls']; x=[sat(rshr(int(C.w[tok,c])*s.ig[c]*C.mu[tok],C.s[tok]+3+s.igsh-s.RF),16) for c in range(D)]
        else: E=M['emb']; x=[rshr(int(E.w[tok,c])*E.mu[tok],E.s[tok]+3-s.embF) for c in range(D)]
        if s.npos: Pm=M['wpe']; pp=pos%s.npos; x=[v+rshr(int(Pm.w[pp,c])*Pm.mu[pp],Pm.s[pp]+3-s.embF) for c,v in enumerate(x)]
        if not s.degain: x=[sat(v,16) for v in x]
        if s.eps_emb>=0: R,k=rsqrt(sum(v*v for v in x)+s.eps_emb); x=[sat(rshr(v*R,15+k-s.igsh-s.RF),16) for v in x]
        slot=s.S+(t-s.S)%(s.W-s.S) if s.S and t>=s.S else t%s.W
        for l in range(L):
            W=lambda n:M[f'{n}.{l}']; R,k=s.norm(x); B=block(x); tr[f'x{l}']=(list(x),R,k,B)
            q=s.matvec(W('wq'),*B,s.FQ[l],R,k); kk=s.matvec(W('wk'),*B,s.FK[l],R,k); v=s.matvec(W('wv'),*B,s.FV[l],R,k); far=s.S and t>=s.W; qs=None
            if far: qs=s.ropev(list(q),s.W-1) if s.rope else list(q)
            if s.rope: q=s.ropev(q,pos); kk=s.ropev(kk,pos)
            g=had if s.rot_ else list
            s.ring[l][slot]=([bfp(g(kk[i*hd:(i+1)*hd]),s.bk) for i in range(s.NKV)],[[sat(rshr(y,8),8) for y in v[i*hd:(i+1)*hd]] for i in range(s.NKV)])
            ao=[]
            for h in range(s.NH): o,sc,Z=s.attn(l,q[h*hd:(h+1)*hd],qs[h*hd:(h+1)*hd] if far else None,h//(s.NH//s.NKV),h); ao+=o
            tr[f'qkv{l}']=(q,kk,v,s.ring[l][slot],ao,Z)
            d=s.matvec(W('wo'),*block(ao),s.RF,xF=s.FV[l],bits=0); x=[sat(a+b,16) for a,b in zip(x,d)]
            R,k=s.norm(x); B=block(x); gt=s.matvec(W('w1'),*B,s.FG[l],R,k)
            if s.relu: h=[max(0,a) for a in gt]; hF=s.FG[l]; up=None
            else:
                up=s.matvec(W('w3'),*B,s.FU[l],R,k); hF=s.FH[l]; h=[sat(rshr(rshr(a*sigmoid(a,s.FG[l]),16)*b,s.FG[l]+s.FU[l]-s.FH[l]),16) for a,b in zip(gt,up)]
            tr[f'ffn{l}']=(gt,up,h)
            d=s.matvec(W('w2'),*block(h),s.RF,xF=hF,bits=0); x=[sat(a+b,16) for a,b in zip(x,d)]
        if s.finalnorm: R,k=s.norm(x); lg=s.matvec(M['cls'],*block(x),s.LF,R,k,bits=24)
        else: lg=s.matvec(M['cls'],*block(x),s.LF,xF=s.RF,bits=24)
        s.t+=1; tr['x_final']=x; s.trace=tr; return lg
def argmax(l): return l.index(max(l))
M32=0xffffffff
def prng(k0,k1,step,idx):
    x,y=step,idx
    for i in range(8): x=(((x>>8)|(x<<24))&M32)+y&M32; x^=((k1 if i&1 else k0)+i)&M32; y=(((y<<3)|(y>>29))&M32)^x
    return y
def gumbel(r):
    v=2*r+1; n=33-v.bit_length(); seg=min(n,7); m=(v<<n)&((1<<33)-1); i,f=(m>>27)&31,(m>>19)&255; T=LUT['gumbel']; a=(7-seg)*32+i
    return T[a]+(((T[a+1]-T[a])*f+128)>>8)+(n-seg)*2048
def sample(lg,LF,IT,k0,k1,step):
    b=None
    for i,l in enumerate(lg):
        z=rshr(l*IT,LF-1)+gumbel(prng(k0,k1,step,i))
        if b is None or z>b[0]: b=(z,i)
    return b[1]
